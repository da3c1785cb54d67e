/* Executes a chain of CNI plugins for many pods, as a runtime does, and times each pod on the monotonic clock.
 *
 *   runner COMMAND PARALLEL FIRST COUNT NETNS_DIR BINARY CONF [BINARY CONF ...]
 *
 * COMMAND is ADD or DEL. Pod N has CNI_CONTAINERID "pod-N" and the namespace NETNS_DIR/pod-N. CONF is a file with a plugin's
 * network configuration, in which @PREV@ stands for the output of the plugin before it (DEL: the result of the ADD, kept in
 * NETNS_DIR/pod-N.result). PARALLEL processes share the pods. Prints one line "N nanoseconds" a pod, then "wall nanoseconds".
 * A plugin that fails ends the run with its output. Written in C so that the runner's own cost (a vfork) stays far below the
 * quickest plugin's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT 65536
#define MOST 8

extern char **environ;
static struct { const char *binary; char conf[LIMIT]; } chain[MOST];
static int plugins;

static void die(const char *what) { perror(what); exit(1); }
static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void read_file(const char *path, char *into, int optional) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, into, LIMIT - 1);
    if (got < 0 && !optional) die(path);
    into[got < 0 ? 0 : got] = 0;
    if (fd >= 0) close(fd);
}
/* Run one plugin with `input` on stdin; its stdout goes to `output`. */
static void execute(const char *binary, char **env, const char *input, char *output) {
    int in[2], out[2], status;
    size_t used = 0;
    ssize_t got;
    pid_t pid;
    char *argv[] = {(char *)binary, NULL};
    posix_spawn_file_actions_t actions;
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) die("pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    if ((errno = posix_spawn(&pid, binary, &actions, NULL, argv, env))) die(binary);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    if (write(in[1], input, strlen(input)) < 0 && errno != EPIPE) die("write");
    close(in[1]);
    while ((got = read(out[0], output + used, LIMIT - 1 - used)) > 0) used += (size_t)got;
    output[used] = 0;
    close(out[0]);
    if (waitpid(pid, &status, 0) < 0) die("waitpid");
    if (status) { fprintf(stderr, "%s failed (status %d): %s\n", binary, status, output); exit(1); }
}
static void pod(const char *command, int number, const char *dir) {
    static char previous[LIMIT], output[LIMIT], input[2 * LIMIT];
    char id[64], netns[512], result[512], verb[32], *path = "CNI_PATH=/nonexistent";
    snprintf(verb, sizeof verb, "CNI_COMMAND=%s", command);
    snprintf(id, sizeof id, "CNI_CONTAINERID=pod-%d", number);
    snprintf(netns, sizeof netns, "CNI_NETNS=%s/pod-%d", dir, number);
    snprintf(result, sizeof result, "%s/pod-%d.result", dir, number);
    for (char **e = environ; *e; e++) if (!strncmp(*e, "CNI_PATH=", 9)) path = *e;
    char *env[] = {verb, id, netns, "CNI_IFNAME=eth0", path, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    int adding = !strcmp(command, "ADD");
    previous[0] = 0;
    if (!adding) read_file(result, previous, 1);
    long long began = now();
    for (int step = 0; step < plugins; step++) {
        int which = adding ? step : plugins - 1 - step;
        const char *conf = chain[which].conf, *mark = strstr(conf, "@PREV@");
        if (mark) snprintf(input, sizeof input, "%.*s%s%s", (int)(mark - conf), conf, *previous ? previous : "null", mark + 6);
        else snprintf(input, sizeof input, "%s", conf);
        execute(chain[which].binary, env, input, output);
        if (adding) strcpy(previous, output);
    }
    long long took = now() - began;
    if (adding) {
        int fd = open(result, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, previous, strlen(previous)) < 0) die(result);
        close(fd);
    }
    char line[64];
    int length = snprintf(line, sizeof line, "%d %lld\n", number, took);
    if (write(1, line, (size_t)length) < 0) die("write");
}
int main(int argc, char **argv) {
    if (argc < 8 || argc % 2) { fprintf(stderr, "usage: runner COMMAND PARALLEL FIRST COUNT NETNS_DIR BINARY CONF ...\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    int parallel = atoi(argv[2]), first = atoi(argv[3]), count = atoi(argv[4]), failed = 0;
    for (int i = 6; i < argc && plugins < MOST; i += 2, plugins++) {
        chain[plugins].binary = argv[i];
        read_file(argv[i + 1], chain[plugins].conf, 0);
    }
    long long began = now();
    for (int worker = 0; worker < parallel; worker++) {
        pid_t pid = fork();
        if (pid < 0) die("fork");
        if (!pid) {
            for (int n = worker; n < count; n += parallel) pod(argv[1], first + n, argv[5]);
            exit(0);
        }
    }
    for (int status; wait(&status) > 0;) failed |= status != 0;
    printf("wall %lld\n", now() - began);
    return failed;
}
