// Starts processes and times them, for scripts/bench: from before the first fork to after the last exit.
//
// Reads lines `LANE<TAB>STDIN<TAB>WORDS<TAB>VARIABLES`; words and variables are separated by U+001F. The processes
// of one lane run one after another, the lanes at the same time, at most LIMIT (argv[1]) of them. An empty line
// starts what was read and answers with one line: nanoseconds, processes that failed, the largest peak memory in
// KiB. What they print goes to the file argv[2], anew for each answer.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { max_jobs = 8192, max_words = 64 };

struct job {
    int lane;
    char *input;
    char *words[max_words], *variables[max_words];
    pid_t pid;
    int isStarted;
};

static struct job jobs[max_jobs];
static int count;
static int output;

static void split(char *text, char **parts) {
    int number = 0;
    for (char *part; number < max_words - 1 && (part = strsep(&text, "\x1f"));) parts[number++] = part;
    parts[number] = NULL;
}

static void parse(char *line) {
    struct job *job = &jobs[count++];
    job->lane = atoi(strsep(&line, "\t"));
    job->input = strsep(&line, "\t");
    split(strsep(&line, "\t"), job->words);
    split(line, job->variables);
    job->isStarted = 0;
}

static void start(struct job *job) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, job->input, O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, output, 2);
    int status = posix_spawn(&job->pid, job->words[0], &actions, NULL, job->words, job->variables);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) {
        fprintf(stderr, "runner: %s: %s\n", job->words[0], strerror(status));
        exit(1);
    }
    job->isStarted = 1;
}

static int start_next_of(int lane) {
    for (int index = 0; index < count; index++)
        if (jobs[index].lane == lane && !jobs[index].isStarted) {
            start(&jobs[index]);
            return 1;
        }
    return 0;
}

static void run(int limit) {
    struct timespec begin, end;
    int running = 0, failed = 0, next = 0, last = -1;
    long peak = 0;
    if (ftruncate(output, 0) != 0) exit(1);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (;;) {
        // Lanes are numbered in the order of their first line.
        while (running < limit && next < count) {
            if (jobs[next].lane > last) {
                last = jobs[next].lane;
                start(&jobs[next]);
                running++;
            }
            next++;
        }
        if (running == 0) break;
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, 0, &usage);
        if (pid < 0) exit(1);
        if (status != 0) failed++;
        if (usage.ru_maxrss > peak) peak = usage.ru_maxrss;
        for (int index = 0; index < count; index++)
            if (jobs[index].isStarted && jobs[index].pid == pid) {
                jobs[index].pid = 0;
                if (!start_next_of(jobs[index].lane)) running--;
                break;
            }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    long long elapsed = (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec;
    printf("%lld %d %ld\n", elapsed, failed, peak);
    fflush(stdout);
}

int main(int argc, char *argv[]) {
    if (argc != 3) return 2;
    output = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (output < 0) return 1;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        if (line[length - 1] == '\n') line[--length] = 0;
        if (length > 0 && count < max_jobs) {
            parse(strdup(line));
            continue;
        }
        run(atoi(argv[1]));
        count = 0;
    }
    return 0;
}
