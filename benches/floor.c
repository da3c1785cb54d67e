/* The floor of a CNI ADD and DEL: a static C program, executed as a runtime executes a plugin, that does the netlink work of
 * podwire's routed wiring and nothing else: no configuration is read, nothing is allocated, stored, validated or answered.
 *
 * CNI_COMMAND is ADD or DEL, CNI_NETNS a path, CNI_CONTAINERID "pod-N": N gives the address 10.245.0.0 + N, the host end's
 * name and both ifindexes (pre-assigned, so that one send can name what it just made).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL 113 /* not podwire's, whose agent beside it would sweep strays */
#define REAPER_GROUP 7 /* not the one that a real agent beside it reaps */

static char buffer[8192];
static size_t used;
static unsigned sequence;
static struct nlmsghdr *message;

static void fail(const char *what) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); exit(1); }

static void *put(const void *data, size_t size) {
    void *at = buffer + used;
    if (data) memcpy(at, data, size); else memset(at, 0, size);
    used += NLMSG_ALIGN(size);
    return at;
}
static void begin(int type, int flags, const void *body, size_t size) {
    message = (struct nlmsghdr *)(buffer + used);
    struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags, .nlmsg_seq = ++sequence};
    put(&header, sizeof header);
    put(body, size);
}
static void end(void) { message->nlmsg_len = buffer + used - (char *)message; }
static struct rtattr *attr(int type, const void *data, size_t size) {
    struct rtattr header = {.rta_type = type, .rta_len = RTA_LENGTH(size)};
    struct rtattr *at = put(&header, sizeof header);
    if (size) put(data, size);
    return at;
}
static struct rtattr *nest(int type) { return attr(type, NULL, 0); }
static void unnest(struct rtattr *at) { at->rta_len = buffer + used - (char *)at; }
static void u32(int type, unsigned value) { attr(type, &value, 4); }

static void send_all(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) fail("socket");
    if (send(fd, buffer, used, 0) < 0) fail("send");
    static char answer[16384];
    for (unsigned acked = 0; acked < sequence;) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got < 0) fail("recv");
        for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got)) {
            if (h->nlmsg_type != NLMSG_ERROR) continue;
            struct nlmsgerr *error = NLMSG_DATA(h);
            if (error->error) { errno = -error->error; fail("netlink"); }
            acked++;
        }
    }
    close(fd);
    used = 0;
    sequence = 0;
}
static void link_up(int index, const char *name) {
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(RTM_NEWLINK, 0, &link, sizeof link);
    if (name) attr(IFLA_IFNAME, name, strlen(name) + 1);
    end();
}
static void neighbour(int index, const char *address, const unsigned char *mac) {
    struct ndmsg neigh = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    struct in_addr ip;
    inet_pton(AF_INET, address, &ip);
    begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neigh, sizeof neigh);
    attr(NDA_DST, &ip, 4);
    attr(NDA_LLADDR, mac, 6);
    end();
}
static void route(int command, int index, const char *destination, int length, const char *gateway) {
    struct rtmsg rt = {.rtm_family = AF_INET, .rtm_dst_len = length, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = PROTOCOL,
                       .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST,
                       .rtm_flags = gateway ? RTNH_F_ONLINK : 0};
    struct in_addr ip;
    begin(command, command == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0, &rt, sizeof rt);
    if (length) { inet_pton(AF_INET, destination, &ip); attr(RTA_DST, &ip, 4); }
    if (gateway) { inet_pton(AF_INET, gateway, &ip); attr(RTA_GATEWAY, &ip, 4); }
    u32(RTA_OIF, index);
    end();
}

static int add(const char *path, const char *host, const char *pod_ip, int index) {
    const unsigned char host_mac[6] = {2, 0, 0, 0, 0, 1}, pod_mac[6] = {2, 0, 0, 0, 0, 2};
    int netns = open(path, O_RDONLY | O_CLOEXEC);
    if (netns < 0) fail("open netns");
    struct ifinfomsg link = {.ifi_index = index};
    begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
    attr(IFLA_IFNAME, host, strlen(host) + 1);
    attr(IFLA_ADDRESS, host_mac, 6);
    u32(IFLA_MTU, 1450);
    struct rtattr *info = nest(IFLA_LINKINFO);
    attr(IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = nest(IFLA_INFO_DATA), *peer = nest(VETH_INFO_PEER);
    struct ifinfomsg peer_link = {.ifi_index = index + 1};
    put(&peer_link, sizeof peer_link);
    attr(IFLA_IFNAME, "eth0", 5);
    attr(IFLA_ADDRESS, pod_mac, 6);
    u32(IFLA_MTU, 1450);
    u32(IFLA_NET_NS_FD, netns);
    unnest(peer); unnest(data); unnest(info);
    end();
    link_up(index, NULL);
    neighbour(index, pod_ip, pod_mac);
    route(RTM_NEWROUTE, index, pod_ip, 32, NULL);
    send_all();
    if (setns(netns, CLONE_NEWNET)) fail("setns");
    link_up(0, "lo");
    link_up(index + 1, NULL);
    struct ifaddrmsg address = {.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = index + 1};
    struct in_addr ip;
    inet_pton(AF_INET, pod_ip, &ip);
    begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address, sizeof address);
    attr(IFA_LOCAL, &ip, 4);
    end();
    route(RTM_NEWROUTE, index + 1, "169.254.1.1", 32, NULL);
    route(RTM_NEWROUTE, index + 1, "", 0, "169.254.1.1");
    neighbour(index + 1, "169.254.1.1", host_mac);
    send_all();
    return 0;
}
static int del(const char *pod_ip, int index) {
    route(RTM_DELROUTE, index, pod_ip, 32, NULL);
    struct ifinfomsg link = {.ifi_index = index, .ifi_change = IFF_UP};
    begin(RTM_NEWLINK, 0, &link, sizeof link);
    u32(IFLA_GROUP, REAPER_GROUP);
    end();
    send_all();
    return 0;
}
int main(void) {
    const char *command = getenv("CNI_COMMAND"), *path = getenv("CNI_NETNS"), *id = getenv("CNI_CONTAINERID");
    char host[16], pod_ip[INET_ADDRSTRLEN];
    if (!command || !id || strncmp(id, "pod-", 4)) { fprintf(stderr, "floor: CNI_COMMAND and CNI_CONTAINERID=pod-N are needed\n"); return 2; }
    unsigned number = (unsigned)atoi(id + 4);
    struct in_addr ip = {.s_addr = htonl(0x0af50000u + number)};
    inet_ntop(AF_INET, &ip, pod_ip, sizeof pod_ip);
    snprintf(host, sizeof host, "pwfl%u", number);
    int index = 3000000 + 2 * (int)number;
    if (!strcmp(command, "ADD")) return add(path, host, pod_ip, index);
    if (!strcmp(command, "DEL")) return del(pod_ip, index);
    fprintf(stderr, "floor: unknown CNI_COMMAND %s\n", command);
    return 2;
}
