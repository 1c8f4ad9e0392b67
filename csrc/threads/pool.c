/* A pool of threads that sleep until there is work.
 *
 * The work is cut into one range per thread. Each thread starts on its own range, the same one in every job,
 * because its core may still hold that memory in its cache. A thread that has finished its range claims
 * chunks of the others.
 *
 * A worker that the system does not schedule therefore delays nobody. The caller claims all chunks that are
 * left, closes the job, and waits only for workers that are in the middle of a chunk.
 *
 * One job runs at a time. A second thread that brings work meanwhile does it alone. */
#include "build.h"

#include "threads/pool.h"

#include "fastopt.h"
#include "threads/cpus.h"
#include "threads/system.h"

#include <stdatomic.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* The least work per thread, in bytes of parameters or gradients. With less, one core alone is faster than
 * handing work to a worker that is awake, or than waking one that sleeps. */
enum { BYTES_PER_THREAD_AWAKE = 131072, BYTES_PER_THREAD = 262144 };
/* How long a worker polls for the next job before it sleeps. Steps often follow each other closely, and
 * waking a sleeper can take as long as a whole step. */
enum { WATCH_NANOSECONDS = 200000, SPINS_BETWEEN_LOOKS_AT_CLOCK = 64 };
/* How many times the caller polls for the end of the last chunks before it sleeps. */
enum { SPINS = 1000 };
/* How often the pool checks whether the caller's affinity has changed. */
enum { FOLLOW_NANOSECONDS = 5000000 };
enum { MAX_RANGES = 64 };
/* From this many chunks per thread on, a pass is long: its memory does not fit into the caches. */
enum { LONG_PASS = 1024 };
/* Hardware prefetchers restart at every chunk. So chunks are lengthened, up to LONGEST times, as long as
 * each thread still gets CHUNKS_PER_THREAD of them. */
enum { LONGEST = 128, CHUNKS_PER_THREAD = 16 };

typedef struct range {
    _Alignas(64) atomic_size_t claimed; /* on a cache line of its own */
    size_t begin, end;
} range;

typedef struct job {
    fo_task *task;
    void *context;
    size_t chunk;
    int backwards; /* from the last chunk of a range to the first */
    int range_count;
    unsigned long control; /* the caller's floating-point control register */
    range ranges[MAX_RANGES];
} job;

typedef struct worker {
    fo_thread thread;
    fo_condition wake;
    int asleep;
    int kept_off; /* the CPU that it must not run on, or -1 */
} worker;

static struct {
    fo_mutex mutex;    /* guards what is not atomic */
    fo_condition idle; /* working has become 0 */
    int busy;          /* some caller owns the pool */
    job *job;
    int wanted;             /* the job is for the first workers, this many */
    atomic_uint generation; /* counts jobs */
    atomic_int working;     /* how many workers are in the job */
    int worker_count;
    worker workers[FO_MAX_THREADS];
    unsigned long long cpus; /* a hash of the CPUs that the workers were last given */
    long long followed;      /* when they were last compared with the caller's */
} pool = {.mutex = FO_MUTEX_INITIAL, .idle = FO_CONDITION_INITIAL};

static atomic_uint long_passes;
static atomic_int thread_limit;
static atomic_llong last_asked; /* when threads were last asked for */

/* Workers compute under the caller's rounding mode and flush-to-zero setting. Otherwise the number of threads
 * would change bits where the caller has changed these. */
static unsigned long get_control(void)
{
#if defined(__x86_64__)
    return _mm_getcsr();
#elif defined(__aarch64__)
    unsigned long control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
#else
    return 0;
#endif
}

static void set_control(unsigned long control)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned)control);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(control));
#else
    (void)control;
#endif
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void claim_chunks(job *work, int first)
{
    for (int i = 0; i < work->range_count; i++) {
        range *const from = &work->ranges[(first + i) % work->range_count];
        for (;;) {
            const size_t claimed =
                atomic_fetch_add_explicit(&from->claimed, work->chunk, memory_order_relaxed);
            const size_t size = from->end - from->begin;
            if (claimed >= size)
                break;
            const size_t last = (size - 1) / work->chunk * work->chunk;
            const size_t begin = from->begin + (work->backwards ? last - claimed : claimed);
            const size_t left = from->end - begin;
            work->task(work->context, begin, begin + (left < work->chunk ? left : work->chunk));
        }
    }
}

/* Polls for the next job for WATCH_NANOSECONDS. */
static void watch_for_job(unsigned seen)
{
    const long long end = fo_nanoseconds() + WATCH_NANOSECONDS;
    do {
        for (int i = 0; i < SPINS_BETWEEN_LOOKS_AT_CLOCK; i++) {
            if (atomic_load_explicit(&pool.generation, memory_order_relaxed) != seen)
                return;
            pause_briefly();
        }
    } while (fo_nanoseconds() < end);
}

FO_THREAD_MAIN(worker_main)
{
    const int self = (int)(intptr_t)argument;
    unsigned seen = 0;
    fo_mutex_lock(&pool.mutex);
    for (;;) {
        const unsigned now = atomic_load_explicit(&pool.generation, memory_order_relaxed);
        const int wanted = self < pool.wanted;
        job *const work = wanted && now != seen ? pool.job : NULL;
        seen = now;
        if (work)
            atomic_fetch_add_explicit(&pool.working, 1, memory_order_relaxed);
        fo_mutex_unlock(&pool.mutex);

        if (work) {
            set_control(work->control);
            claim_chunks(work, self + 1);
            /* The last to leave signals under the mutex. Otherwise the signal could come between the
             * caller's test and its wait, and be lost. */
            if (atomic_fetch_sub_explicit(&pool.working, 1, memory_order_release) == 1) {
                fo_mutex_lock(&pool.mutex);
                fo_condition_signal(&pool.idle);
                fo_mutex_unlock(&pool.mutex);
            }
        }
        /* A worker that came too late for the job stays awake for the next one too. */
        if (wanted)
            watch_for_job(seen);
        fo_mutex_lock(&pool.mutex);
        if (atomic_load_explicit(&pool.generation, memory_order_relaxed) == seen) {
            pool.workers[self].asleep = 1;
            fo_condition_wait(&pool.workers[self].wake, &pool.mutex);
            pool.workers[self].asleep = 0;
        }
    }
    return 0;
}

/* Under the pool's mutex. If threads cannot be created, the caller does their share. */
static void start_workers(int wanted)
{
    while (pool.worker_count < wanted) {
        worker *const next = &pool.workers[pool.worker_count];
        next->asleep = 0;
        next->kept_off = -1;
        fo_condition_init(&next->wake);
        if (!fo_start_thread(&next->thread, worker_main, (void *)(intptr_t)pool.worker_count))
            break;
        pool.worker_count++;
    }
}

/* Under the pool's mutex. The worker is kept off the caller's CPU, because the kernel may queue it there
 * although another CPU is halted: to a guest, a halted virtual CPU can look as if its host had taken it away.
 * The worker would then run only after the caller has finished, in every step, until the kernel balances its
 * queues some milliseconds later. */
static void wake(worker *sleeper, int caller_cpu)
{
    if (caller_cpu != sleeper->kept_off && caller_cpu >= 0) {
        fo_keep_off(sleeper->thread, caller_cpu);
        sleeper->kept_off = caller_cpu;
    }
    fo_condition_signal(&sleeper->wake);
}

/* Under the pool's mutex. Workers inherit the affinity of the thread that starts them. They follow if the
 * caller's affinity has changed since, or if the caller is another thread. */
static void follow_caller(void)
{
    const long long now = fo_nanoseconds();
    if (!pool.worker_count || now - pool.followed < FOLLOW_NANOSECONDS)
        return;
    pool.followed = now;
    const unsigned long long cpus = fo_cpus_of_caller();
    if (cpus == pool.cpus)
        return;
    pool.cpus = cpus;
    for (int i = 0; i < pool.worker_count; i++)
        fo_keep_off(pool.workers[i].thread, pool.workers[i].kept_off);
}

/* Gives the job to the pool. Returns 0 if the pool has another one. */
static int open_job(job *work, int threads)
{
    fo_mutex_lock(&pool.mutex);
    const int mine = !pool.busy;
    if (mine) {
        pool.busy = 1;
        follow_caller();
        start_workers(threads - 1);
        pool.job = work;
        pool.wanted = threads - 1;
        atomic_fetch_add_explicit(&pool.generation, 1, memory_order_relaxed);
        const int cpu = fo_current_cpu();
        for (int i = 0; i < pool.wanted && i < pool.worker_count; i++)
            if (pool.workers[i].asleep)
                wake(&pool.workers[i], cpu);
    }
    fo_mutex_unlock(&pool.mutex);
    return mine;
}

static void close_job(void)
{
    fo_mutex_lock(&pool.mutex);
    pool.job = NULL;
    fo_mutex_unlock(&pool.mutex);
    for (int i = 0; i < SPINS && atomic_load_explicit(&pool.working, memory_order_acquire); i++)
        pause_briefly();
    fo_mutex_lock(&pool.mutex);
    while (atomic_load_explicit(&pool.working, memory_order_acquire))
        fo_condition_wait(&pool.idle, &pool.mutex);
    pool.busy = 0;
    fo_mutex_unlock(&pool.mutex);
}

void fo_parallel(int threads, size_t total, size_t chunk, fo_task *task, void *context)
{
    if (!total)
        return;
    if ((size_t)threads > (total - 1) / chunk + 1)
        threads = (int)((total - 1) / chunk + 1);
    const int is_long = total / chunk / (size_t)threads >= LONG_PASS;
    if (threads == 1 && !is_long) {
        task(context, 0, total);
        return;
    }

    job work;
    work.task = task;
    work.context = context;
    const size_t longer = total / chunk / (size_t)threads / CHUNKS_PER_THREAD;
    work.chunk = chunk * (longer < 1 ? 1 : longer < LONGEST ? longer : LONGEST);
    /* The memory that a long pass touched last is still in a cache, so every other pass runs backwards. */
    work.backwards =
        is_long && atomic_fetch_add_explicit(&long_passes, 1, memory_order_relaxed) % 2;
    work.range_count = threads < MAX_RANGES ? threads : MAX_RANGES;
    work.control = get_control();
    const size_t chunks = (total - 1) / work.chunk + 1;
    for (int i = 0; i < work.range_count; i++) {
        const size_t count = (size_t)work.range_count, at = (size_t)i;
        atomic_init(&work.ranges[i].claimed, 0);
        work.ranges[i].begin = chunks * at / count * work.chunk;
        work.ranges[i].end = chunks * (at + 1) / count * work.chunk;
    }
    work.ranges[work.range_count - 1].end = total;

    const int mine = threads > 1 && open_job(&work, threads);
    claim_chunks(&work, 0);
    if (mine)
        close_job();
}

/* Only the forking thread exists in the child. The pool's workers are gone, and another thread may have held
 * its mutex at the fork. */
static void forget_workers(void)
{
    fo_mutex_init(&pool.mutex);
    fo_condition_init(&pool.idle);
    pool.job = NULL;
    pool.busy = pool.worker_count = 0;
    atomic_store(&pool.working, 0);
}

FO_WHEN_LOADED static void watch_forks(void)
{
    fo_in_forked_child(forget_workers);
}

int fo_get_num_threads(void)
{
    return atomic_load_explicit(&thread_limit, memory_order_relaxed);
}

fo_status fo_set_num_threads(int threads)
{
    if (threads < 1 || threads > FO_MAX_THREADS)
        return FO_BAD_OPTION;
    atomic_store_explicit(&thread_limit, threads, memory_order_relaxed);
    return FO_OK;
}

/* Of the thread and not of the process: others may be in the middle of steps. */
static _Thread_local int caller_limit;

void fo_limit_caller(int threads)
{
    caller_limit = threads;
}

int fo_engage_threads(size_t bytes)
{
    const int all = fo_get_num_threads();
    const int limit = caller_limit > 0 && caller_limit < all ? caller_limit : all;
    if (limit == 1 || bytes < 2 * BYTES_PER_THREAD_AWAKE)
        return 1;
    /* If steps follow each other closely, the workers are awake, or waking them pays over the next steps. */
    const long long now = fo_nanoseconds();
    const int closely =
        now - atomic_exchange_explicit(&last_asked, now, memory_order_relaxed) < WATCH_NANOSECONDS;
    const size_t worth = bytes / (closely ? BYTES_PER_THREAD_AWAKE : BYTES_PER_THREAD);
    return worth >= (size_t)limit ? limit : worth ? (int)worth : 1;
}
