#define _GNU_SOURCE
#include "clinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_dhcp6_socket(int index, const void *own) {
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons(546), .sin6_scope_id = (uint32_t)index};
    memcpy(&address.sin6_addr, own, 16);
    int on = 1;
    int raw = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (raw < 0) return -1;
    if (setsockopt(raw, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0
        || setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || setsockopt(raw, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) != 0
        || setsockopt(raw, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index) != 0
        || bind(raw, (struct sockaddr *)&address, sizeof address) != 0) {
        int saved = errno;
        close(raw);
        errno = saved;
        return -1;
    }
    return raw;
}

ssize_t clinux_dhcp6_send(int raw, int index, const void *bytes, size_t count) {
    // All_DHCP_Relay_Agents_and_Servers: RFC 8415, 7.1.
    struct sockaddr_in6 target = {.sin6_family = AF_INET6, .sin6_port = htons(547),
                                  .sin6_scope_id = (uint32_t)index,
                                  .sin6_addr.s6_addr = {0xff, 2, [13] = 1, [15] = 2}};
    return sendto(raw, bytes, count, 0, (struct sockaddr *)&target, sizeof target);
}

ssize_t clinux_dhcp6_receive(int raw, void *buffer, size_t size, void *from) {
    struct sockaddr_in6 sender = {0};
    socklen_t length = sizeof sender;
    ssize_t got = recvfrom(raw, buffer, size, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&sender, &length);
    memcpy(from, &sender.sin6_addr, 16);
    return got;
}
