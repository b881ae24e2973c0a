// glibc looks up names of users, hosts and services through plugins that /etc/nsswitch.conf lists.
// A static program would load the host's plugins, and with them the host's glibc, which crashes if
// the two versions differ. So the static topspin asks only what is built into glibc itself: the
// files in /etc, and DNS.
#include <nss.h>
#include <stddef.h>

__attribute__((constructor)) static void look_up_without_plugins(void) {
  static const char* const kInFiles[] = {"passwd",   "group",    "initgroups",
                                         "services", "networks", "protocols"};
  for (size_t i = 0; i < sizeof kInFiles / sizeof kInFiles[0]; ++i)
    __nss_configure_lookup(kInFiles[i], "files");
  __nss_configure_lookup("hosts", "files dns");
}
