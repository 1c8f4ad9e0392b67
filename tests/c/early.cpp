// An object that steps before main, and so perhaps before the library's own constructors.
#include <fastopt.h>

#include <cstdio>

struct Early {
    float param;
    fo_status status;

    Early() : param(1)
    {
        const float grad = 1;
        fo_hyper hyper = fo_defaults(FO_RULE_sgd);
        hyper.lr = 0.5;
        status = fo_sgd_f32(1, &param, &grad, &hyper);
        fo_set_num_threads(7);
    }
};

static Early early;

int main()
{
    std::printf("%s, %g, %d threads", fo_status_text(early.status), early.param,
                fo_get_num_threads());
}
