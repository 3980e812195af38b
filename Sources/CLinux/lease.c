#define _GNU_SOURCE
#include "clinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stddef.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_dhcp_socket(int index, int hears_arp) {
    struct sock_filter program[] = {
        // ARP of others,
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 11, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 8, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 8),
        // and UDP to port 68 that is no later fragment.
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x40000),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(hears_arp ? ETH_P_ALL : ETH_P_IP), .sll_ifindex = index};
    int on = 1;
    int raw = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (raw < 0) return -1;
    if (setsockopt(raw, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0
        || setsockopt(raw, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0
        || bind(raw, (struct sockaddr *)&address, sizeof address) != 0) {
        close(raw);
        return -1;
    }
    return raw;
}

ssize_t clinux_dhcp_broadcast(int raw, int index, int is_arp, const void *bytes, size_t count) {
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(is_arp ? ETH_P_ARP : ETH_P_IP), .sll_ifindex = index,
        .sll_halen = 6};
    memset(address.sll_addr, 0xff, 6);
    return sendto(raw, bytes, count, 0, (struct sockaddr *)&address, sizeof address);
}

ssize_t clinux_dhcp_receive(int raw, void *buffer, size_t size, int *has_checksum) {
    char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    struct iovec part = {buffer, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(raw, &message, MSG_DONTWAIT);
    *has_checksum = 1;
    if (got < 0) return got;
    for (struct cmsghdr *entry = CMSG_FIRSTHDR(&message); entry; entry = CMSG_NXTHDR(&message, entry)) {
        if (entry->cmsg_level != SOL_PACKET || entry->cmsg_type != PACKET_AUXDATA) continue;
        struct tpacket_auxdata data;
        memcpy(&data, CMSG_DATA(entry), sizeof data);
        if (data.tp_status & TP_STATUS_CSUMNOTREADY) *has_checksum = 0;
    }
    return got;
}

int clinux_dhcp_send(int index, uint32_t from, uint32_t to, const void *bytes, size_t count) {
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_port = htons(68), .sin_addr.s_addr = htonl(from)};
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = htonl(to)};
    int on = 1;
    int raw = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (raw < 0) return -1;
    int status = -1;
    if (setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0
        && setsockopt(raw, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) == 0
        && bind(raw, (struct sockaddr *)&source, sizeof source) == 0
        && sendto(raw, bytes, count, 0, (struct sockaddr *)&target, sizeof target) >= 0)
        status = 0;
    int saved = errno;
    close(raw);
    errno = saved;
    return status;
}

int clinux_boot_timer(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK); }

int clinux_set_timer(int timer, int64_t milliseconds) {
    struct itimerspec when = {{0, 0}, {milliseconds / 1000, milliseconds % 1000 * 1000000}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, 0);
}

int clinux_stop_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    // Under nohup(1) it is to be passed over; a blocked one would be queued all the same.
    struct sigaction hangup;
    if (sigaction(SIGHUP, 0, &hangup) == 0 && hangup.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, 0) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_watch(const char *path) {
    int raw = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (raw < 0) return -1;
    if (inotify_add_watch(raw, path, IN_MOVED_TO | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR) < 0) {
        close(raw);
        return -1;
    }
    return raw;
}

// A socket, and where it is to be. -1 and errno.
static int unix_socket(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address->sun_path, path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int clinux_listen(const char *path) {
    struct sockaddr_un address;
    int raw = unix_socket(path, &address);
    if (raw < 0) return -1;
    if (bind(raw, (struct sockaddr *)&address, sizeof address) != 0 || listen(raw, 16) != 0) {
        int saved = errno;
        close(raw);
        errno = saved;
        return -1;
    }
    return raw;
}

int clinux_connect(const char *path) {
    struct sockaddr_un address;
    int raw = unix_socket(path, &address);
    if (raw < 0) return -1;
    if (connect(raw, (struct sockaddr *)&address, sizeof address) == 0) return raw;
    int saved = errno;
    close(raw);
    errno = saved;
    return -1;
}

int clinux_notify(const char *name, const char *line) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') address.sun_path[0] = 0;
    int raw = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (raw < 0) return -1;
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + length;
    ssize_t sent = sendto(raw, line, strlen(line), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    close(raw);
    return sent < 0 ? -1 : 0;
}

int clinux_knock(const char *path) {
    int raw = clinux_connect(path);
    if (raw >= 0) close(raw);
    // A full backlog is somebody who is busy.
    return raw >= 0 || errno == EAGAIN ? 0 : -1;
}

void clinux_accept_all(int listener) {
    for (int raw; (raw = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0;) close(raw);
}
