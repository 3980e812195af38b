#include <netinet/in.h>
#include <net/if.h>
#include <libmnl/libmnl.h>
