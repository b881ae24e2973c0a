// The first version of libbpf in Debian 12 gives up an object if it may not list the types of
// kernel modules, which takes cap_sys_admin. It lists them when the kernel itself lacks a type or
// function that a program only uses if it is there (bpf_rdonly_cast, before Linux 6.2). No program
// of topspin needs a module's types. With --wrap the linker takes this function instead of libbpf's
// own: a refusal looks like an empty list. Later versions of libbpf do that themselves.
#include <errno.h>
#include <linux/types.h>

int __real_bpf_btf_get_next_id(__u32 start, __u32* next);
int __wrap_bpf_btf_get_next_id(__u32 start, __u32* next);

int __wrap_bpf_btf_get_next_id(__u32 start, __u32* next) {
  const int result = __real_bpf_btf_get_next_id(start, next);
  if (result == 0 || errno != EPERM) return result;
  errno = ENOENT;
  return -ENOENT;
}
