/* The copy kernel: one array read, up to three read and written, and next to no arithmetic. Arrays
 * and element count are those of a real step, so it shows what moving the same bytes costs. A step
 * can be a little faster: it may go over memory in another order.
 *
 * It is called with scale = 0, so the written arrays keep their values. The compiler does not see that
 * value, and removes nothing. */

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define EACH_ISA __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_ISA
#endif
#define INLINE static inline __attribute__((always_inline))

/* What a step is, written once by the caller so that a call passes one pointer. */
typedef struct {
    const void *read;
    void *written[3];
    size_t n, chunk;
    double scale;
    int n_written, is_double, threads;
} CopyStep;

/* Block by block, one array after the other. What exceeds a core's own caches is read in two places
 * in turn, as fastopt's steps do, which gets more bytes per second out of memory. */
enum { BLOCK_BYTES = 4096, IN_TWO_PLACES = 1 << 21 };

#define DEFINE_PASS(T)                                                                             \
    INLINE void block_##T(const T *restrict g, T *const *written, int n_written, T scale,          \
                          size_t start, size_t end)                                                \
    {                                                                                              \
        for (int k = 0; k < n_written; k++) {                                                      \
            T *restrict a = written[k];                                                            \
            for (size_t i = start; i < end; i++)                                                   \
                a[i] += scale * g[i];                                                              \
        }                                                                                          \
    }                                                                                              \
    EACH_ISA static void pass_##T(const CopyStep *step, size_t start, size_t end)                  \
    {                                                                                              \
        T *const *written = (T *const *)step->written;                                             \
        const int n_written = step->n_written;                                                     \
        const int two = step->n * sizeof(T) >= IN_TWO_PLACES;                                      \
        const size_t block = (!two ? BLOCK_BYTES : n_written == 1 ? 1024 : 512) / sizeof(T);       \
        const size_t half = two ? (end - start) / 2 / block * block : 0;                           \
        for (const size_t middle = start + half; start < middle; start += block) {                 \
            block_##T(step->read, written, n_written, (T)step->scale, start, start + block);       \
            block_##T(step->read, written, n_written, (T)step->scale, start + half,                \
                      start + half + block);                                                       \
        }                                                                                          \
        for (start += half; start < end; start += block)                                           \
            block_##T(step->read, written, n_written, (T)step->scale, start,                       \
                      end - start < block ? end : start + block);                                  \
    }

DEFINE_PASS(float)
DEFINE_PASS(double)

enum { MAX_THREADS = 64 };

typedef struct {
    const CopyStep *step;
    size_t chunk;
    atomic_size_t next;
} Progress;

/* Threads claim chunks until none is left, so one that is held up does not hold up the others. */
static void *run(void *argument)
{
    Progress *progress = argument;
    const CopyStep *step = progress->step;
    size_t start;
    while ((start = atomic_fetch_add(&progress->next, progress->chunk)) < step->n) {
        size_t end = step->n - start < progress->chunk ? step->n : start + progress->chunk;
        if (step->is_double)
            pass_double(step, start, end);
        else
            pass_float(step, start, end);
    }
    return NULL;
}

/* Returns 0, or -1 when the step makes no sense. */
int copy_step(const CopyStep *step)
{
    if (step->n_written < 1 || step->n_written > 3 || step->threads < 1 ||
        step->threads > MAX_THREADS || step->chunk == 0)
        return -1;
    Progress progress = {step, step->threads == 1 ? step->n : step->chunk, 0};
    pthread_t helpers[MAX_THREADS];
    int started = 0;
    while (started < step->threads - 1 &&
           pthread_create(&helpers[started], NULL, run, &progress) == 0)
        started++;
    run(&progress);
    for (int i = 0; i < started; i++)
        pthread_join(helpers[i], NULL);
    return 0;
}
