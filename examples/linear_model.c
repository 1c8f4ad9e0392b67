/* Fits y = w*x + b to noisy points by least squares, with Adam, through the C interface.
 *
 *     cc -O2 linear_model.c $(pkg-config --cflags --libs fastopt) -lm && ./a.out
 */
#include <fastopt.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 200, FEATURES = 3, PARAMETERS = FEATURES + 1, STEPS = 2000 };

static const double truth[PARAMETERS] = {2.0, -1.0, 0.5, 3.0}; /* the weights, then the bias */

/* A small generator of its own, so that the example prints the same on every system. */
static double uniform(void)
{
    static unsigned state = 1;
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 24) * 2 - 1;
}

static double predict(const double *parameters, const double *x)
{
    double y = parameters[FEATURES];
    for (int k = 0; k < FEATURES; k++)
        y += parameters[k] * x[k];
    return y;
}

/* The mean squared error, and its gradient. */
static double loss(const double *parameters, double x[][FEATURES], const double *y, double *grad)
{
    double sum = 0;
    for (int k = 0; k < PARAMETERS; k++)
        grad[k] = 0;
    for (int i = 0; i < POINTS; i++) {
        const double error = predict(parameters, x[i]) - y[i];
        sum += error * error / POINTS;
        for (int k = 0; k < FEATURES; k++)
            grad[k] += 2 * error * x[i][k] / POINTS;
        grad[FEATURES] += 2 * error / POINTS;
    }
    return sum;
}

int main(void)
{
    static double x[POINTS][FEATURES], y[POINTS];
    for (int i = 0; i < POINTS; i++) {
        for (int k = 0; k < FEATURES; k++)
            x[i][k] = uniform();
        y[i] = predict(truth, x[i]) + 0.01 * uniform();
    }

    if (fo_version() / 100 != FO_VERSION / 100) {
        fprintf(stderr, "compiled for fastopt %d, running with %d\n", FO_VERSION, fo_version());
        return EXIT_FAILURE;
    }
    double parameters[PARAMETERS] = {0}, grad[PARAMETERS];
    double exp_avg[PARAMETERS] = {0}, exp_avg_sq[PARAMETERS] = {0};
    fo_hyper hyper = fo_defaults(FO_RULE_adam);
    for (int t = 1; t <= STEPS; t++) {
        const double error = loss(parameters, x, y, grad);
        if (t == 1 || t % 500 == 0)
            printf("step %4d  loss %.6f\n", t, error);
        hyper.lr = 0.05 * (1 - (double)(t - 1) / STEPS);
        const fo_status status = fo_adam_f64(PARAMETERS, parameters, grad, exp_avg, exp_avg_sq,
                                             NULL, (uint64_t)t, &hyper);
        if (status != FO_OK) {
            fprintf(stderr, "fo_adam_f64: %s\n", fo_status_text(status));
            return EXIT_FAILURE;
        }
    }
    printf("fitted ");
    for (int k = 0; k < PARAMETERS; k++) {
        printf(" %.2f", parameters[k]);
        if (fabs(parameters[k] - truth[k]) > 0.01)
            return EXIT_FAILURE;
    }
    printf("\n");
    return EXIT_SUCCESS;
}
