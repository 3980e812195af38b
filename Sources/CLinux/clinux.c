#define _GNU_SOURCE
#include "clinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Swift reads /proc/self/maps to find argv. glibc hands it to every initialiser.
static int argument_count;
static char **argument_vector;

__attribute__((constructor)) static void keep_arguments(int count, char **arguments) {
    argument_count = count;
    argument_vector = arguments;
}

char **clinux_arguments(int *count) {
    *count = argument_count;
    return argument_vector;
}

int clinux_setns_net(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int clinux_socket_namespace(int socket) { return ioctl(socket, SIOCGSKNS); }

int clinux_unshare_net(void) { return unshare(CLONE_NEWNET); }

int clinux_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int clinux_pipe(int descriptors[2]) { return pipe2(descriptors, O_CLOEXEC); }

int clinux_openat(int directory, const char *path, int flags, unsigned int mode) {
    return openat(directory, path, flags, mode);
}

// The plugin must not inherit the runtime's descriptors. Async-signal-safe, for the child below.
static void close_inherited(void) {
    if (close_range(3, ~0U, 0) == 0) return;
    // Kernels before 5.9 lack the call, and a seccomp filter may refuse it.
    char buffer[4096];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t size;
    while ((size = getdents64(directory, buffer, sizeof buffer)) > 0)
        for (char *next = buffer; next < buffer + size; next += ((struct dirent64 *)next)->d_reclen) {
            int descriptor = 0;
            for (char *digit = ((struct dirent64 *)next)->d_name; *digit >= '0' && *digit <= '9'; digit++)
                descriptor = descriptor * 10 + (*digit - '0');
            if (descriptor > 2) fcntl(descriptor, F_SETFD, FD_CLOEXEC);
        }
}

int clinux_spawn(pid_t *pid, const char *path, char *const arguments[], char *const environment[], int input,
                 int output, int errors) {
    sigset_t all, before, none;
    volatile int problem = 0;
    pid_t parent = getpid();
    // If SIGCHLD was inherited as ignored, the kernel would drop the child's status before we read it.
    signal(SIGCHLD, SIG_DFL);
    sigfillset(&all);
    sigemptyset(&none);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    // Not posix_spawn, which has no parent-death signal. The child borrows our memory until it runs its own.
    *pid = vfork();
    if (*pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(errors, 2) >= 0) {
            close_inherited();
            signal(SIGPIPE, SIG_DFL);
            sigprocmask(SIG_SETMASK, &none, NULL);
            execve(path, arguments, environment);
        }
        problem = errno;
        _exit(127);
    }
    int status = *pid < 0 ? errno : problem;
    if (*pid > 0 && status != 0) waitpid(*pid, NULL, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

void clinux_spawn_detached(const char *path, const char *first, const char *second) {
    sigset_t all, before, none;
    char *const arguments[] = {(char *)path, (char *)first, (char *)second, NULL};
    char *const environment[] = {NULL};
    sigfillset(&all);
    sigemptyset(&none);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    if (vfork() == 0) {
        setsid();
        int nothing = open("/dev/null", O_RDWR);
        // A runtime waits until nobody holds our stdout.
        if (nothing >= 0 && dup2(nothing, 0) >= 0 && dup2(nothing, 1) >= 0 && dup2(nothing, 2) >= 0) {
            close_inherited();
            sigprocmask(SIG_SETMASK, &none, NULL);
            execve(path, arguments, environment);
        }
        _exit(127);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

ssize_t clinux_getdents(int directory, void *buffer, size_t size) { return getdents64(directory, buffer, size); }

int clinux_renameat(int directory, const char *from, const char *to) {
    return renameat(directory, from, directory, to);
}

int clinux_contains(const void *bytes, size_t count, const void *wanted, size_t length) {
    return memmem(bytes, count, wanted, length) != NULL;
}

void clinux_timestamp(char *text, size_t size) {
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void clinux_filestamp(char *text, size_t size, int64_t ago) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t seconds = now.tv_sec - (time_t)ago;
    gmtime_r(&seconds, &parts);
    size_t length = strftime(text, size, "%Y-%m-%dT%H-%M-%S", &parts);
    snprintf(text + length, size - length, ".%03ld", now.tv_nsec / 1000000);
}

void clinux_prepare(void) {
    struct pollfd standard[] = {{.fd = 0}, {.fd = 1}, {.fd = 2}};
    // One poll for all three. open(2) takes the lowest free number, which is that of the closed descriptor.
    poll(standard, 3, 0);
    for (int descriptor = 0; descriptor < 3; descriptor++)
        // stdout read-only, so that writes fail as they did: without a result the runtime starts no pod.
        if (standard[descriptor].revents & POLLNVAL) open("/dev/null", descriptor == 1 ? O_RDONLY : O_RDWR);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_TOP_PAD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

int64_t clinux_seconds(void) { return (int64_t)time(NULL); }

int64_t clinux_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clinux_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clinux_boot_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
