/* Steps of which one allocation after the other fails, as the linker's option --wrap lets it: nothing is written. */
#include "check.h"

#include <fastopt.h>

#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static int armed, allocations, failing;

static int fails(void)
{
    return armed && allocations++ == failing;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

enum { ROWS = 3, N = 24, BUFFERS = 2 + FO_MAX_STATES, NUMBERS = ROWS * FO_MAX_CARRIED };

typedef struct buffers {
    double x[BUFFERS][ROWS * N], average[ROWS * N], carried[NUMBERS], norm[ROWS];
    unsigned char skipped[ROWS];
} buffers;

static buffers before, now;

static void fill(void)
{
    for (int k = 0; k < BUFFERS; k++)
        for (int i = 0; i < ROWS * N; i++)
            now.x[k][i] = 1 + k + 0.25 * (i % 11);
    memset(now.norm, 1, sizeof now.norm);
    memset(now.skipped, 7, sizeof now.skipped);
    before = now;
}

static fo_status by_indices(const fo_group *group, const fo_tensor *tensor,
                            const fo_options *options)
{
    static const int32_t indices[] = {1, 3, 1, 5};
    const fo_sparse sparse = {.rows = 6, .count = 4, .indices = indices};
    return fo_step_sparse(group, 1, tensor, &sparse, 1, options, NULL);
}

static fo_status by_rows(const fo_group *group, const fo_tensor *tensor, const fo_options *options)
{
    const fo_rows rows = {.count = ROWS, .norm = now.norm, .skipped = now.skipped};
    return fo_step_rows(group, &rows, tensor, 1, options, NULL);
}

static fo_status whole(const fo_group *group, const fo_tensor *tensor, const fo_options *options)
{
    return fo_step(group, 1, tensor, 1, options, NULL);
}

/* Whether the step had all its memory. */
static int step(fo_rule rule, int kind, int cautious, fo_options options)
{
    fo_group group = {rule, fo_defaults(rule)};
    fo_tensor tensor = {.dtype = FO_FLOAT64, .n = N, .step = 2, .ema = 0.5};
    group.hyper.lr = 0.1;
    group.hyper.cautious = cautious;
    fill();
    tensor.param = now.x[0];
    tensor.grad = now.x[1];
    for (int k = 0; k < fo_rule_describe(rule)->state_count; k++)
        tensor.state[k] = now.x[2 + k];
    tensor.average = now.average;
    tensor.carried = now.carried;
    allocations = 0;
    armed = 1;
    const fo_status status = (kind == 0   ? whole
                              : kind == 1 ? by_indices
                                          : by_rows)(&group, &tensor, &options);
    armed = 0;
    if (allocations > failing)
        CHECK(status == FO_OK || !memcmp(&before, &now, sizeof now));
    return allocations <= failing;
}

int main(void)
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++)
        for (int kind = 0; kind < 3; kind++)
            for (int cautious = 0; cautious < 2; cautious++)
                for (int how = 0; how < 3; how++) {
                    const fo_options options = {.grad_scale = 1,
                                                .clip = how == 1,
                                                .max_norm = 1,
                                                .skip_nonfinite = how == 2};
                    for (failing = 0; !step((fo_rule)rule, kind, cautious, options); failing++)
                        ;
                }
    return failures != 0;
}
