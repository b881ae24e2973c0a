/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads a field of a kernel structure of which a program has only the address. From Linux 6.2 on
 * this is one load (bpf_rdonly_cast); before, it is a call of bpf_probe_read_kernel, which is ten
 * times slower. A bad address reads as 0. BPF side only, in programs of type tracing; after
 * kernel_types.bpf.h and libbpf's headers.
 */
#ifndef TOPSPIN_PROBES_KERNEL_CAST_BPF_H
#define TOPSPIN_PROBES_KERNEL_CAST_BPF_H

extern int LINUX_KERNEL_VERSION __kconfig;
extern void* bpf_rdonly_cast(const void* address, __u32 type) __ksym __weak;

#define TOPSPIN_LINUX_6_2 0x060200

#define READ_AS(type, address, field)                                                            \
  ({                                                                                             \
    __typeof__(((struct type*)0)->field) topspin_value;                                          \
    if (LINUX_KERNEL_VERSION >= TOPSPIN_LINUX_6_2)                                               \
      topspin_value =                                                                            \
          ((struct type*)bpf_rdonly_cast(address, bpf_core_type_id_kernel(struct type)))->field; \
    else                                                                                         \
      topspin_value = BPF_CORE_READ((struct type*)(address), field);                             \
    topspin_value;                                                                               \
  })

#endif
