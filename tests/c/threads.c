/* Several threads step optimizers of their own on the one pool, change its size, ask for its settings
 * and fork; every result must be that of one thread alone. Meant for the thread sanitizer, which finds
 * a race whether or not it did harm, but cannot follow a fork of a process with several threads.
 *
 *     cc -fsanitize=thread -I../../csrc -DWITHOUT_FORKS threads.c ...    # with all of csrc
 */
#include <fastopt.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef WITHOUT_FORKS
#include <sys/wait.h>
#endif

enum { THREADS = 4, ROUNDS = 12, STEPS = 3, N = 200003, SMALL = 1001, FORKS = 4 };

static void fill(float *buffer, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        buffer[i] = (float)(seed >> 8) / 0x1p24f;
    }
}

/* The sum of all bits after some steps of two tensors, clipped by their norm. */
static uint64_t take_steps(fo_rule rule)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    const size_t sizes[] = {N, SMALL};
    fo_group group = {rule, fo_defaults(rule)};
    group.hyper.lr = 0.01;
    fo_tensor tensors[2] = {{0}};
    float *buffers[2][2 + FO_MAX_STATES] = {{0}};
    double carried[2][FO_MAX_CARRIED] = {{0}};
    for (int i = 0; i < 2; i++) {
        for (int b = 0; b < 2 + info->state_count; b++) {
            buffers[i][b] = calloc(sizes[i], sizeof(float));
            if (!buffers[i][b])
                abort();
            if (b < 2)
                fill(buffers[i][b], sizes[i], (unsigned)(1 + i + 2 * b));
        }
        tensors[i].n = sizes[i];
        tensors[i].param = buffers[i][0];
        tensors[i].grad = buffers[i][1];
        tensors[i].carried = carried[i];
        for (int k = 0; k < info->state_count; k++)
            tensors[i].state[k] = buffers[i][2 + k];
    }
    fo_options options = FO_DEFAULT_OPTIONS;
    options.clip = 1;
    options.max_norm = 1.0;
    options.skip_nonfinite = 1;
    for (int step = 1; step <= STEPS; step++) {
        tensors[0].step = tensors[1].step = (uint64_t)step;
        if (fo_step(&group, 1, tensors, 2, &options, NULL) != FO_OK)
            abort();
    }
    uint64_t sum = 0;
    for (int i = 0; i < 2; i++)
        for (int b = 0; b < 2 + info->state_count; b++) {
            for (size_t k = 0; k < sizes[i]; k++) {
                uint32_t bits;
                memcpy(&bits, &buffers[i][b][k], sizeof bits);
                sum = sum * 31 + bits;
            }
            free(buffers[i][b]);
        }
    return sum;
}

static uint64_t expected[FO_RULE_COUNT];
static atomic_int differences, stepping;

static void *step_all(void *argument)
{
    for (int round = 0; round < ROUNDS; round++) {
        const fo_rule rule = (fo_rule)(((intptr_t)argument + round) % FO_RULE_COUNT);
        if (take_steps(rule) != expected[rule])
            atomic_fetch_add(&differences, 1);
    }
    atomic_fetch_sub(&stepping, 1);
    return NULL;
}

static void *change_settings(void *argument)
{
    (void)argument;
    for (int n = 0; atomic_load(&stepping); n++) {
        fo_set_num_threads(1 + n % 5);
        if (fo_get_num_threads() < 1 || !fo_isa())
            atomic_fetch_add(&differences, 1);
        usleep(200);
    }
    return NULL;
}

#ifndef WITHOUT_FORKS
static void *fork_children(void *argument)
{
    (void)argument;
    for (int i = 0; i < FORKS; i++) {
        const pid_t child = fork();
        if (child == 0)
            _exit(take_steps(FO_RULE_adam) == expected[FO_RULE_adam] ? 0 : 1);
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
            atomic_fetch_add(&differences, 1);
    }
    return NULL;
}
#endif

int main(void)
{
    pthread_t threads[THREADS + 3];
    int started = 0;
    fo_set_num_threads(1);
    for (int r = 0; r < FO_RULE_COUNT; r++)
        expected[r] = take_steps((fo_rule)r);
    fo_set_num_threads(3);
    atomic_store(&stepping, THREADS);
    for (intptr_t i = 0; i < THREADS; i++)
        started += !pthread_create(&threads[started], NULL, step_all, (void *)i);
    started += !pthread_create(&threads[started], NULL, change_settings, NULL);
#ifndef WITHOUT_FORKS
    started += !pthread_create(&threads[started], NULL, fork_children, NULL);
    started += !pthread_create(&threads[started], NULL, fork_children, NULL);
#endif
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    printf("%d threads, %d differences\n", started, atomic_load(&differences));
    return started < THREADS + 1 || atomic_load(&differences);
}
