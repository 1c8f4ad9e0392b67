/* What the pool needs of the system: threads, mutexes, conditions, a clock. Most functions are one call of
 * POSIX or of Windows. Internal. */
#ifndef FO_SYSTEM_H
#define FO_SYSTEM_H

/* Enough for a worker, which runs one loop over plain buffers. */
enum { FO_STACK_BYTES = 512 * 1024 };

#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <process.h>

typedef HANDLE fo_thread;
typedef SRWLOCK fo_mutex;
typedef CONDITION_VARIABLE fo_condition;
typedef unsigned fo_thread_result;
typedef fo_thread_result __stdcall fo_thread_main(void *argument);
#define FO_THREAD_MAIN(name) static fo_thread_result __stdcall name(void *argument)
#define FO_MUTEX_INITIAL SRWLOCK_INIT
#define FO_CONDITION_INITIAL CONDITION_VARIABLE_INIT

static inline void fo_mutex_init(fo_mutex *mutex)
{
    InitializeSRWLock(mutex);
}

static inline void fo_mutex_lock(fo_mutex *mutex)
{
    AcquireSRWLockExclusive(mutex);
}

static inline void fo_mutex_unlock(fo_mutex *mutex)
{
    ReleaseSRWLockExclusive(mutex);
}

static inline void fo_condition_init(fo_condition *condition)
{
    InitializeConditionVariable(condition);
}

static inline void fo_condition_signal(fo_condition *condition)
{
    WakeConditionVariable(condition);
}

static inline void fo_condition_wait(fo_condition *condition, fo_mutex *mutex)
{
    SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}

/* Starts a detached thread. Returns 0 if the system refuses. */
static inline int fo_start_thread(fo_thread *thread, fo_thread_main *run, void *argument)
{
    /* The thread runs this library's code until the process ends, so the library must never be unloaded. */
    HMODULE self;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                            (LPCWSTR)run, &self))
        return 0;
    *thread = (HANDLE)_beginthreadex(NULL, FO_STACK_BYTES, run, argument,
                                     STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return *thread != NULL;
}

static inline long long fo_nanoseconds(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    const long long second = per_second.QuadPart;
    return ticks.QuadPart / second * 1000000000 + ticks.QuadPart % second * 1000000000 / second;
}

/* There is no fork. */
static inline void fo_in_forked_child(void (*forget)(void))
{
    (void)forget;
}

#else

#include <pthread.h>
#include <signal.h>
#include <time.h>

typedef pthread_t fo_thread;
typedef pthread_mutex_t fo_mutex;
typedef pthread_cond_t fo_condition;
typedef void *fo_thread_result;
typedef fo_thread_result fo_thread_main(void *argument);
#define FO_THREAD_MAIN(name) static fo_thread_result name(void *argument)
#define FO_MUTEX_INITIAL PTHREAD_MUTEX_INITIALIZER
#define FO_CONDITION_INITIAL PTHREAD_COND_INITIALIZER

static inline void fo_mutex_init(fo_mutex *mutex)
{
    pthread_mutex_init(mutex, NULL);
}

static inline void fo_mutex_lock(fo_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void fo_mutex_unlock(fo_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

static inline void fo_condition_init(fo_condition *condition)
{
    pthread_cond_init(condition, NULL);
}

static inline void fo_condition_signal(fo_condition *condition)
{
    pthread_cond_signal(condition);
}

static inline void fo_condition_wait(fo_condition *condition, fo_mutex *mutex)
{
    pthread_cond_wait(condition, mutex);
}

/* Starts a detached thread. Returns 0 if the system refuses. */
static inline int fo_start_thread(fo_thread *thread, fo_thread_main *run, void *argument)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, FO_STACK_BYTES);
    /* Signals are left to the threads of the host program. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static inline long long fo_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void fo_in_forked_child(void (*forget)(void))
{
    pthread_atfork(NULL, NULL, forget);
}

#endif

#endif
