/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads of the kernel's structures through bpf_rdonly_cast, which Linux has from 6.2 on. BPF side
 * only, in programs of type tracing; after kernel_types.bpf.h and libbpf's headers.
 */
#ifndef TOPSPIN_PROBES_KERNEL_CAST_BPF_H
#define TOPSPIN_PROBES_KERNEL_CAST_BPF_H

extern int LINUX_KERNEL_VERSION __kconfig;
extern void* bpf_rdonly_cast(const void* address, __u32 type) __ksym __weak;

#define TOPSPIN_LINUX_6_2 0x060200

/* Reads a field of a structure of which a program has only the address. It is one load with the
 * cast, and without it a call of bpf_probe_read_kernel, which is ten times slower. A bad address
 * reads as 0. */
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

/* Follows pointers from field to field, as in FOLLOW(task, files, fdt): one load each. It differs
 * from task->files->fdt only in how long the program takes to load. When a program loads a pointer
 * through one that the verifier trusts, the verifier looks for the structure in its lists of what
 * stays trusted, and each look searches all types of the kernel by name (seen in 6.18: 1.6 ms for
 * each such load on each path through the program). It trusts no pointer that was cast. */
#define FOLLOW(pointer, ...)                                                      \
  (LINUX_KERNEL_VERSION >= TOPSPIN_LINUX_6_2                                      \
       ? ___arrow(((__typeof__(pointer))bpf_rdonly_cast(                          \
                      pointer, bpf_core_type_id_kernel(__typeof__(*(pointer))))), \
                  __VA_ARGS__)                                                    \
       : ___arrow(pointer, __VA_ARGS__))

#endif
