// The floor of scripts/bench: the kernel operations of an attachment, and nothing else.
//
//   floor add NETNS KIND PARENT COUNT    attaches COUNT links, net0, net1 ..., to the bridge, or on the link, PARENT
//   floor fast NETNS KIND PARENT COUNT   the same, all links first, which inherit the sysctls of a pod without any
//   floor del NETNS KIND PARENT COUNT    deletes them: one by its index, several as one group
//   floor one NETNS KIND PARENT COUNT    deletes them one by one
//
// KIND is bridge, macvlan or ipvlan. The links end up as those of the plugins: named, with an address, sysctls and
// up, the first one with a default route. No configuration, no files, no result: who knows them all beforehand
// needs no more. Exit status 1 and a line on stderr when the kernel refuses.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[32768];
static unsigned int sequence;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct mnl_socket *open_socket(void) {
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) die("open a netlink socket");
    return socket;
}

static struct nlmsghdr *message(int type, int flags) {
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | flags;
    header->nlmsg_seq = ++sequence;
    return header;
}

// Sends the message and takes the answer: an ACK, or one message that `read` looks at.
static void send_message(struct mnl_socket *socket, struct nlmsghdr *header, mnl_cb_t read, void *data,
                         const char *what) {
    if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) die(what);
    ssize_t count = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
    if (count < 0 || mnl_cb_run(buffer, count, sequence, 0, read, data) < 0) die(what);
}

static int read_index(const struct nlmsghdr *header, void *data) {
    *(int *)data = ((struct ifinfomsg *)mnl_nlmsg_get_payload(header))->ifi_index;
    return MNL_CB_STOP;
}

static int index_of(struct mnl_socket *socket, const char *name) {
    int index = 0;
    struct nlmsghdr *header = message(RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(header, IFLA_IFNAME, name);
    send_message(socket, header, read_index, &index, name);
    return index;
}

static struct ifinfomsg *put_link(struct nlmsghdr *header, int index) {
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(header, sizeof *link);
    link->ifi_index = index;
    return link;
}

static void add_bridge_port(struct mnl_socket *host, const char *name, const char *peer, int namespace, int bridge) {
    struct nlmsghdr *header = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    struct ifinfomsg *link = put_link(header, 0);
    link->ifi_flags = link->ifi_change = IFF_UP;
    mnl_attr_put_strz(header, IFLA_IFNAME, peer);
    mnl_attr_put_u32(header, IFLA_MASTER, bridge);
    struct nlattr *info = mnl_attr_nest_start(header, IFLA_LINKINFO);
    mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
    struct nlattr *other = mnl_attr_nest_start(header, VETH_INFO_PEER);
    put_link(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, name);
    mnl_attr_put_u32(header, IFLA_NET_NS_FD, namespace);
    mnl_attr_nest_end(header, other);
    mnl_attr_nest_end(header, data);
    mnl_attr_nest_end(header, info);
    send_message(host, header, NULL, NULL, peer);
}

static void add_child(struct mnl_socket *host, const char *kind, const char *name, int namespace, int parent) {
    struct nlmsghdr *header = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    put_link(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, name);
    mnl_attr_put_u32(header, IFLA_LINK, parent);
    mnl_attr_put_u32(header, IFLA_NET_NS_FD, namespace);
    struct nlattr *info = mnl_attr_nest_start(header, IFLA_LINKINFO);
    mnl_attr_put_strz(header, IFLA_INFO_KIND, kind);
    struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
    if (strcmp(kind, "macvlan") == 0) mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    mnl_attr_nest_end(header, data);
    mnl_attr_nest_end(header, info);
    send_message(host, header, NULL, NULL, name);
}

static void write_sysctl(const char *format, const char *name, const char *value) {
    char path[128];
    snprintf(path, sizeof path, format, name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, value, 1) != 1) die(path);
    close(file);
}

static void enter(int namespace) {
    if (setns(namespace, CLONE_NEWNET) != 0) die("setns");
}

static void configure(struct mnl_socket *pod, const char *name, int number) {
    int index = index_of(pod, name);
    uint32_t address = htonl(0x0a640002 + number);
    struct nlmsghdr *header = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(header, sizeof *body);
    body->ifa_family = AF_INET;
    body->ifa_prefixlen = 16;
    body->ifa_index = index;
    mnl_attr_put_u32(header, IFA_LOCAL, address);
    mnl_attr_put_u32(header, IFA_ADDRESS, address);
    mnl_attr_put_u32(header, IFA_BROADCAST, htonl(0x0a64ffff));
    send_message(pod, header, NULL, NULL, "add the address");
    header = message(RTM_NEWLINK, NLM_F_ACK);
    struct ifinfomsg *link = put_link(header, index);
    link->ifi_flags = link->ifi_change = IFF_UP;
    send_message(pod, header, NULL, NULL, "set the link up");
    if (number > 0) return;
    header = message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_ACK);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof *route);
    route->rtm_family = AF_INET;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(header, RTA_GATEWAY, htonl(0x0a640001));
    mnl_attr_put_u32(header, RTA_OIF, index);
    send_message(pod, header, NULL, NULL, "add the route");
}

static void set_sysctls(int home, int namespace, int isBridge, const char *name) {
    enter(namespace);
    if (isBridge) write_sysctl("/proc/sys/net/ipv6/conf/%s/accept_dad", name, "0");
    write_sysctl("/proc/sys/net/ipv4/conf/%s/arp_notify", name, "1");
    if (!isBridge) write_sysctl("/proc/sys/net/ipv6/conf/%s/ndisc_notify", name, "1");
    enter(home);
}

static void add(struct mnl_socket *host, struct mnl_socket *pod, int home, int namespace, const char *kind,
                const char *parent, int count, int isFast) {
    int isBridge = strcmp(kind, "bridge") == 0;
    int index = index_of(host, parent);
    char name[16], peer[16];
    if (isFast) set_sysctls(home, namespace, isBridge, "default");
    for (int number = 0; number < count; number++) {
        snprintf(name, sizeof name, "net%d", number);
        snprintf(peer, sizeof peer, "flo%x.%d", getpid(), number);
        if (isBridge) add_bridge_port(host, name, peer, namespace, index);
        else add_child(host, kind, name, namespace, index);
        if (isFast) continue;
        set_sysctls(home, namespace, isBridge, name);
        configure(pod, name, number);
    }
    for (int number = 0; isFast && number < count; number++) {
        snprintf(name, sizeof name, "net%d", number);
        configure(pod, name, number);
    }
}

static void delete(struct mnl_socket *pod, int index, int group) {
    struct nlmsghdr *header = message(RTM_DELLINK, NLM_F_ACK);
    put_link(header, index);
    if (group) mnl_attr_put_u32(header, IFLA_GROUP, group);
    send_message(pod, header, NULL, NULL, "delete");
}

static void del(struct mnl_socket *pod, int count, int inGroup) {
    for (int number = 0; number < count; number++) {
        char name[16];
        snprintf(name, sizeof name, "net%d", number);
        int index = index_of(pod, name);
        if (inGroup) {
            struct nlmsghdr *header = message(RTM_NEWLINK, NLM_F_ACK);
            put_link(header, index);
            mnl_attr_put_u32(header, IFLA_GROUP, 0x10000);
            send_message(pod, header, NULL, NULL, "set the group");
        } else {
            delete(pod, index, 0);
        }
    }
    if (inGroup) delete(pod, 0, 0x10000);
}

int main(int argc, char *argv[]) {
    if (argc != 6) return 2;
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int namespace = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (home < 0 || namespace < 0) die(argv[2]);
    int count = atoi(argv[5]), isFast = strcmp(argv[1], "fast") == 0;
    int isAdd = isFast || strcmp(argv[1], "add") == 0;
    struct mnl_socket *host = isAdd ? open_socket() : NULL;
    enter(namespace);
    struct mnl_socket *pod = open_socket();
    enter(home);
    if (isAdd) add(host, pod, home, namespace, argv[3], argv[4], count, isFast);
    else del(pod, count, count > 1 && strcmp(argv[1], "one") != 0);
    return 0;
}
