// Preloaded into a test process: system calls on files of one folder that fail or kill, and a monotonic clock that jumps.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/uio.h>

static char place[PATH_MAX] = "";  // only calls on paths that contain this count
static char call_name[16] = "";    // write, fsync, rename, open (to write), any of them but open, or all
static int after = 0;              // the call of this number, from 1, is the first to fail
static int error_number = 0;       // with this errno; 0: the process is killed there; -N: it gets signal N there, once
static int count = 0;
static long long jump_ns = 0;

void fault_arm(const char *call, const char *where, int number, int error) {
    strncpy(call_name, call, sizeof call_name - 1);
    strncpy(place, where, sizeof place - 1);
    after = number; error_number = error; count = 0;
}

int fault_count(void) { return count; }

void fault_jump(long long ns) { jump_ns = ns; }

static int fails(const char *call, const char *path) {
    int counts = !strcmp(call_name, "all") || !strcmp(call_name, strcmp(call, "open") ? "any" : "open");
    if (!*place || !strstr(path, place) || !(counts || !strcmp(call_name, call))) return 0;
    if (++count < after || !after) return 0;
    if (!error_number) kill(getpid(), SIGKILL);
    if (error_number < 0) {
        if (count == after) kill(getpid(), -error_number);
        return 0;
    }
    errno = error_number;
    return 1;
}

static int fails_on(const char *call, int fd) {
    if (!*place) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fails_on("write", fd)) return -1;
    return REAL(write)(fd, bytes, length);
}

static int opens(const char *path, int flags) {
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails("open", path);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opens(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opens(path, flags) ? -1 : REAL(openat64)(folder, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }

int fsync(int fd) { return fails_on("fsync", fd) ? -1 : REAL(fsync)(fd); }

int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }

int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(unlink)(path); }

int ftruncate(int fd, off_t length) { return fails_on("truncate", fd) ? -1 : REAL(ftruncate)(fd, length); }

static struct timespec moved(const struct timespec *at, long long ns) {
    ns += at->tv_sec * 1000000000LL + at->tv_nsec;
    return (struct timespec){ns / 1000000000LL, ns % 1000000000LL};
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (jump_ns && clock == CLOCK_MONOTONIC && !result) *now = moved(now, jump_ns);
    return result;
}

// Whoever waits until a moment of the clock that jumped waits until that moment of the kernel's.

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    struct timespec real = clock == CLOCK_MONOTONIC && (flags & TIMER_ABSTIME) ? moved(until, -jump_ns) : *until;
    return REAL(clock_nanosleep)(clock, flags, &real, left);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    struct timespec real = clock == CLOCK_MONOTONIC ? moved(until, -jump_ns) : *until;
    return REAL(sem_clockwait)(semaphore, clock, &real);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until) {
    struct timespec real = clock == CLOCK_MONOTONIC ? moved(until, -jump_ns) : *until;
    return REAL(pthread_cond_clockwait)(condition, mutex, clock, &real);
}
