/*
 * podwire-cni: the CNI plugin binary. It hands a request to the node's agent and prints the agent's answer.
 *
 * The runtime execs it for every verb, so it starts in half a millisecond: static, no allocation, no stdio. It thinks
 * as little as possible. VERSION it answers itself; for the rest it sends the CNI_* environment, stdin and a descriptor
 * of the pod's network namespace over the agent's socket (the wire is described in cni/protocol.py).
 *
 * Without an agent: ADD, CHECK and GC fail with code 11 (try again later), STATUS with 50, and DEL succeeds once the
 * request stands in the spool directory, from which the returning agent carries it out.
 *
 * Nothing in the environment chooses the socket: a runtime runs this as root, and the paths are compiled in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef PODWIRE_RUN_DIR
#define PODWIRE_RUN_DIR "/run/podwire"
#endif
#ifndef PODWIRE_DEADLINE_SECONDS
#define PODWIRE_DEADLINE_SECONDS 100 /* below the two minutes that a kubelet waits for StopPodSandbox */
#endif

#define SOCKET_PATH PODWIRE_RUN_DIR "/agent.sock"
#define SPOOL_PATH PODWIRE_RUN_DIR "/spool"
#define SUPPORTED_VERSIONS "\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
#define NEWEST_VERSION "1.1.0"

enum {
    HEADER = 12,
    MAX_ENV = 64 * 1024,
    MAX_STDIN = 1024 * 1024,
    MAX_BODY = 2 * 1024 * 1024, /* a result holds at most the prevResult that came in, and a little of ours */
};

enum code { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN_LATER = 11, NOT_AVAILABLE = 50 };
enum need { NEED_CONTAINER = 1, NEED_NETNS = 2 };

struct verb {
    const char *name;
    unsigned needs;
    enum code when_down;
};

static const struct verb VERBS[] = {
    {"ADD", NEED_CONTAINER | NEED_NETNS, TRY_AGAIN_LATER},
    {"DEL", NEED_CONTAINER, TRY_AGAIN_LATER},
    {"CHECK", NEED_CONTAINER | NEED_NETNS, TRY_AGAIN_LATER},
    {"GC", 0, TRY_AGAIN_LATER},
    {"STATUS", 0, NOT_AVAILABLE},
    {"VERSION", 0, TRY_AGAIN_LATER},
};

extern char **environ;

/* Untouched pages of these cost nothing. One spare byte of input tells "too large" from "just fits". */
static char request[HEADER + MAX_ENV + MAX_STDIN + 1];
static char body[MAX_BODY];
static char version[16] = NEWEST_VERSION;

/* ---- output ---- */

static int write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

static void print(const char *text)
{
    (void)write_all(STDOUT_FILENO, text, strlen(text)); /* whoever closed our stdout does not want the answer */
}

/* Print *text* as the inside of a JSON string: what needs escaping is shown as '?', what is long is cut. */
static void print_safely(const char *text)
{
    char safe[65];
    size_t length = 0;
    for (; text[length] != '\0' && length < sizeof safe - 1; length++) {
        unsigned char c = (unsigned char)text[length];
        safe[length] = c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? '?' : (char)c;
    }
    safe[length] = '\0';
    print(safe);
}

/* Print the error object of CNI specification 1.1.0, section 5; *subject* is not trusted. Returns the exit status. */
static int fail(enum code code, const char *message, const char *subject, const char *details)
{
    char number[8];
    snprintf(number, sizeof number, "%d", (int)code);
    print("{\"cniVersion\":\"");
    print(version);
    print("\",\"code\":");
    print(number);
    print(",\"msg\":\"");
    print(message);
    print_safely(subject);
    print("\",\"details\":\"");
    print(details);
    print("\"}\n");
    return 1;
}

/* ---- input ---- */

static void put_u32(char *at, uint32_t value)
{
    for (int byte = 0; byte < 4; byte++)
        at[byte] = (char)(value >> (8 * byte));
}

static uint32_t get_u32(const char *at)
{
    uint32_t value = 0;
    for (int byte = 0; byte < 4; byte++)
        value |= (uint32_t)(unsigned char)at[byte] << (8 * byte);
    return value;
}

/* Copy the CNI_* variables to *at*, each with its NUL. Returns their length, or -1 if they exceed MAX_ENV. */
static ssize_t collect_environment(char *at)
{
    size_t used = 0;
    for (char **entry = environ; entry && *entry; entry++) {
        if (strncmp(*entry, "CNI_", 4) != 0)
            continue;
        size_t length = strlen(*entry) + 1;
        if (length > MAX_ENV - used)
            return -1;
        memcpy(at + used, *entry, length);
        used += length;
    }
    return (ssize_t)used;
}

/* Read stdin to its end. Returns its length, or -1 with errno (EFBIG if it exceeds MAX_STDIN). */
static ssize_t read_stdin(char *at)
{
    size_t used = 0;
    for (;;) {
        ssize_t got = read(STDIN_FILENO, at + used, MAX_STDIN + 1 - used);
        if (got == 0)
            return (ssize_t)used;
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        used += (size_t)got;
        if (used > MAX_STDIN) {
            errno = EFBIG;
            return -1;
        }
    }
}

/* The offset behind the JSON string that begins (after its quote) at *at*; *end* if it never ends. */
static size_t skip_string(const char *json, size_t at, size_t end)
{
    while (at < end && json[at] != '"')
        at += json[at] == '\\' ? 2 : 1;
    return at < end ? at + 1 : end;
}

static size_t skip_space(const char *json, size_t at, size_t end)
{
    while (at < end && (json[at] == ' ' || json[at] == '\t' || json[at] == '\n' || json[at] == '\r'))
        at++;
    return at;
}

/*
 * Find the top-level "cniVersion" and keep it for what we print ourselves, if it looks like a version. No parser: only
 * strings and nesting are told apart, which is enough not to be fooled by a prevResult's version or a string's content.
 */
static void find_version(const char *json, size_t end)
{
    static const char KEY[] = "cniVersion\"";
    int depth = 0;
    for (size_t at = 0; at < end;) {
        char c = json[at++];
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (c != '"')
            continue;
        size_t start = at;
        at = skip_string(json, at, end);
        if (depth != 1 || at - start != sizeof KEY - 1 || memcmp(json + start, KEY, sizeof KEY - 1) != 0)
            continue;
        size_t value = skip_space(json, at, end);
        if (value >= end || json[value++] != ':')
            continue; /* the string was a value, not a key */
        value = skip_space(json, value, end);
        if (value >= end || json[value++] != '"')
            return;
        size_t length = strspn(json + value, "0123456789."); /* the buffer ends with a NUL */
        if (length > 0 && length < sizeof version && value + length < end && json[value + length] == '"') {
            memcpy(version, json + value, length);
            version[length] = '\0';
        }
        return;
    }
}

/* ---- the agent ---- */

static long remaining_ms(const struct timespec *deadline)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long left = (deadline->tv_sec - now.tv_sec) * 1000 + (deadline->tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? left : 0;
}

static int wait_for(int fd, short events, const struct timespec *deadline)
{
    struct pollfd poller = {.fd = fd, .events = events};
    for (;;) {
        int ready = poll(&poller, 1, (int)remaining_ms(deadline));
        if (ready > 0)
            return 0;
        if (ready < 0 && errno == EINTR)
            continue;
        return -1;
    }
}

static int connect_agent(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof SOCKET_PATH <= sizeof address.sun_path, "PODWIRE_RUN_DIR is too long for a socket");
    memcpy(address.sun_path, SOCKET_PATH, sizeof SOCKET_PATH);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* A connect waits only while the agent's backlog is full; the send time-out bounds that wait. */
    struct timeval patience = {.tv_sec = PODWIRE_DEADLINE_SECONDS < 10 ? PODWIRE_DEADLINE_SECONDS : 10};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Send *length* bytes of the request, with the namespace's descriptor (if any) beside the first of them. */
static int send_request(int fd, size_t length, int netns, const struct timespec *deadline)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec data = {.iov_base = request, .iov_len = length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (netns >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &netns, sizeof netns);
    }
    while (data.iov_len > 0) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN && wait_for(fd, POLLOUT, deadline) == 0)
                continue;
            return -1;
        }
        data.iov_base = (char *)data.iov_base + sent;
        data.iov_len -= (size_t)sent;
        message.msg_control = NULL; /* the descriptor went with the first byte */
        message.msg_controllen = 0;
    }
    return 0;
}

static int receive(int fd, char *at, size_t length, const struct timespec *deadline)
{
    while (length > 0) {
        ssize_t got = recv(fd, at, length, 0);
        if (got == 0)
            return -1;
        if (got < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN && wait_for(fd, POLLIN, deadline) == 0)
                continue;
            return -1;
        }
        at += got;
        length -= (size_t)got;
    }
    return 0;
}

/* Ask the agent and print what it says. Returns the exit status, or -1 without a word printed if there is no answer. */
static int ask_agent(size_t length, int netns)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PODWIRE_DEADLINE_SECONDS;
    int fd = connect_agent();
    if (fd < 0)
        return -1;
    char header[HEADER];
    uint32_t size = 0;
    int answered = send_request(fd, length, netns, &deadline) == 0 && receive(fd, header, HEADER, &deadline) == 0 &&
                   memcmp(header, "PWR1", 4) == 0 && (size = get_u32(header + 8)) <= MAX_BODY &&
                   receive(fd, body, size, &deadline) == 0;
    close(fd);
    if (!answered)
        return -1;
    if (write_all(STDOUT_FILENO, body, size) != 0)
        return 1;
    return get_u32(header + 4) == 0 ? 0 : 1;
}

/* ---- the spool ---- */

static int make_private(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST)
        return -1;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat found;
    if (fd < 0)
        return -1;
    if (fstat(fd, &found) != 0 || found.st_uid != geteuid() || (found.st_mode & 022) != 0) {
        close(fd); /* somebody else could put a DEL there */
        return -1;
    }
    return fd;
}

/* Write the request for the agent to find: under a temporary name, then renamed, so that no half request is seen. */
static int spool(size_t length)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char name[64], partial[72];
    snprintf(name, sizeof name, "%010lld.%09ld-%d.del", (long long)now.tv_sec, now.tv_nsec, (int)getpid());
    snprintf(partial, sizeof partial, ".%s", name);
    int run = make_private(AT_FDCWD, PODWIRE_RUN_DIR);
    int directory = run < 0 ? -1 : make_private(run, "spool");
    if (run >= 0)
        close(run);
    if (directory < 0)
        return -1;
    int result = -1;
    int fd = openat(directory, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) {
        int written = write_all(fd, request, length) == 0 && fsync(fd) == 0;
        written = close(fd) == 0 && written;
        if (written && renameat(directory, partial, directory, name) == 0)
            result = fsync(directory);
        if (result != 0)
            (void)unlinkat(directory, partial, 0);
    }
    close(directory);
    return result;
}

/* ---- main ---- */

static const char *variable(const char *name)
{
    size_t length = strlen(name);
    for (char **entry = environ; entry && *entry; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return "";
}

static const char *missing_variable(unsigned needs)
{
    if ((needs & NEED_CONTAINER) && *variable("CNI_CONTAINERID") == '\0')
        return "CNI_CONTAINERID";
    if ((needs & NEED_CONTAINER) && *variable("CNI_IFNAME") == '\0')
        return "CNI_IFNAME";
    if ((needs & NEED_NETNS) && *variable("CNI_NETNS") == '\0')
        return "CNI_NETNS";
    return NULL;
}

int main(void)
{
    const char *command = variable("CNI_COMMAND");
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++)
        if (strcmp(command, VERBS[i].name) == 0)
            verb = &VERBS[i];
    ssize_t env = collect_environment(request + HEADER);
    char *stdin_at = request + HEADER + (env < 0 ? 0 : env);
    ssize_t input = read_stdin(stdin_at);
    if (input > 0)
        find_version(stdin_at, (size_t)input);

    if (verb == NULL)
        return fail(INVALID_ENVIRONMENT, "CNI_COMMAND is missing or unknown: ", command,
                    "a container runtime runs this program; it sets CNI_COMMAND to ADD, DEL, CHECK, GC, STATUS or VERSION");
    if (strcmp(verb->name, "VERSION") == 0) {
        print("{\"cniVersion\":\"");
        print(version);
        print("\",\"supportedVersions\":[" SUPPORTED_VERSIONS "]}\n");
        return 0;
    }
    const char *missing = missing_variable(verb->needs);
    if (missing != NULL)
        return fail(INVALID_ENVIRONMENT, "required environment variable is missing: ", missing,
                    "the container runtime must set it (CNI specification 1.1.0, section 2)");
    if (env < 0)
        return fail(INVALID_ENVIRONMENT, "the CNI_* environment variables exceed 64 KiB: ", "CNI_ARGS",
                    "make CNI_ARGS shorter");
    if (input < 0)
        return fail(IO_FAILURE, "cannot read the network configuration from stdin: ", strerror(errno),
                    "the runtime must write at most 1 MiB of JSON to the plugin's stdin");

    memcpy(request, "PWC1", 4);
    put_u32(request + 4, (uint32_t)env);
    put_u32(request + 8, (uint32_t)input);
    size_t length = HEADER + (size_t)env + (size_t)input;
    const char *path = variable("CNI_NETNS");
    int netns = *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1; /* if it fails the agent decides */
    int status = ask_agent(length, netns);
    if (status >= 0)
        return status;
    if (strcmp(verb->name, "DEL") == 0) {
        if (spool(length) == 0)
            return 0;
        return fail(verb->when_down, "podwire's agent does not answer, and the DEL cannot be kept in ", SPOOL_PATH,
                    "start the agent of this node, or free space below " PODWIRE_RUN_DIR "; the runtime will try again");
    }
    return fail(verb->when_down, "podwire's agent does not answer at ", SOCKET_PATH,
                "is the agent of this node running? Its log says why not; once it runs, trying again succeeds");
}
