// Debian's libpcap.a can also capture from D-Bus, for which it needs libdbus and libsystemd.
// topspin watches network interfaces. These two functions take the place of libpcap's own (its
// pcap-dbus.h declares them): no such device is listed, and no name is one. The linker takes them
// first, and so never looks for those libraries.
#include <stddef.h>

struct pcap;
struct pcap_if_list;

int dbus_findalldevs(struct pcap_if_list* devices, char* error);
struct pcap* dbus_create(const char* device, char* error, int* is_ours);

int dbus_findalldevs(struct pcap_if_list* devices, char* error) {
  (void)devices, (void)error;
  return 0;
}

struct pcap* dbus_create(const char* device, char* error, int* is_ours) {
  (void)device, (void)error;
  *is_ours = 0;
  return NULL;
}
