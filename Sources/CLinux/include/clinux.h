// Kernel headers in an order that compiles, and system calls that Swift's Glibc module does not offer.
#ifndef CLINUX_H
#define CLINUX_H

#include <netinet/in.h>
#include <net/if.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// argv, and how many there are.
char **clinux_arguments(int *count);
/// setns(2) into a network namespace.
int clinux_setns_net(int descriptor);
/// The network namespace of a socket, opened close-on-exec. SIOCGSKNS, a macro that Swift does not see.
int clinux_socket_namespace(int socket);
/// unshare(2) of the network namespace.
int clinux_unshare_net(void);
/// memfd_create(2), close-on-exec.
int clinux_memfd(const char *name);
/// pipe2(2), close-on-exec.
int clinux_pipe(int descriptors[2]);
/// open(2) and openat(2), which are variadic in C.
int clinux_openat(int directory, const char *path, int flags, unsigned int mode);
/// Starts a program in a process group of its own, with the three standard descriptors given and no other; it is
/// killed when we are.
/// 0, or the errno.
int clinux_spawn(pid_t *pid, const char *path, char *const arguments[], char *const environment[], int input,
                 int output, int errors);
/// Starts a program with two arguments that may outlive us and has no descriptor of ours; nobody learns how it ends.
void clinux_spawn_detached(const char *path, const char *first, const char *second);
/// getdents64(2).
ssize_t clinux_getdents(int directory, void *buffer, size_t size);
/// memmem(3): whether some bytes occur in others.
int clinux_contains(const void *bytes, size_t count, const void *wanted, size_t length);
int clinux_renameat(int directory, const char *from, const char *to);
/// The current time in UTC as RFC 3339, at least 32 bytes.
void clinux_timestamp(char *text, size_t size);
/// The time some seconds ago in UTC, to the millisecond, as file names have it: 2026-01-02T03-04-05.006; at least 32 bytes.
void clinux_filestamp(char *text, size_t size, int64_t ago);
/// Opens standard descriptors that are closed, ignores SIGPIPE, and lets the heap grow in large steps and never
/// shrink: the process lives for milliseconds.
void clinux_prepare(void);
/// A packet socket that hears UDP to port 68 on a link of the calling thread's namespace, and ARP if it is to; -1 and errno.
int clinux_dhcp_socket(int index, int hears_arp);
/// Sends an IPv4 or ARP packet to every host on the link.
ssize_t clinux_dhcp_broadcast(int socket, int index, int is_arp, const void *bytes, size_t count);
/// An IPv4 or ARP packet that has come, without waiting.
/// has_checksum: 0 where UDP's was left to a card that never saw it.
ssize_t clinux_dhcp_receive(int socket, void *buffer, size_t size, int *has_checksum);
/// Sends a datagram from port 68 of an address of the link's to port 67; addresses in host order. 0, or -1 and errno.
int clinux_dhcp_send(int index, uint32_t from, uint32_t to, const void *bytes, size_t count);
/// A socket of port 546 of an IPv6 address of a link, in the calling thread's namespace; -1 and errno.
int clinux_dhcp6_socket(int index, const void *address);
/// Sends a datagram to port 547 of all DHCPv6 servers and relays on the link.
ssize_t clinux_dhcp6_send(int socket, int index, const void *bytes, size_t count);
/// A datagram that has come, and the 16 bytes of its sender's address, without waiting; longer than size if it was cut.
ssize_t clinux_dhcp6_receive(int socket, void *buffer, size_t size, void *address);
/// A timer of CLOCK_BOOTTIME, and when it is to go off, in milliseconds; 0 stops it. timerfd_create(2).
int clinux_boot_timer(void);
int clinux_set_timer(int timer, int64_t milliseconds);
/// Blocks SIGTERM, SIGINT and SIGHUP, and becomes readable with one. signalfd(2).
int clinux_stop_signals(void);
/// Becomes readable when a file is renamed into a directory, or deleted there. inotify(7).
int clinux_watch(const char *directory);
/// A listening socket at a path.
int clinux_listen(const char *path);
/// A connection to whoever listens at a path: without waiting, a full backlog is EAGAIN. -1 and errno.
int clinux_connect(const char *path);
/// Tells the service manager a line, as sd_notify(3): a path, or an abstract name behind '@'. 0, or -1 and errno.
int clinux_notify(const char *socket, const char *line);
/// Whether somebody listens there: 0, or -1 and errno.
int clinux_knock(const char *path);
/// Takes the connections that wait, and closes them.
void clinux_accept_all(int listener);
/// CLOCK_BOOTTIME in milliseconds, which goes on while the machine sleeps.
int64_t clinux_boot_milliseconds(void);
/// CLOCK_MONOTONIC in milliseconds.
int64_t clinux_milliseconds(void);
int64_t clinux_microseconds(void);
int64_t clinux_seconds(void);

#endif
