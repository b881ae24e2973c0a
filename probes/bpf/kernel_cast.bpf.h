/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads of the kernel's structures through bpf_rdonly_cast, which Linux has from 6.2 on, for
 * programs of type tracing; and the version of the running kernel. Other programs define READ_AS
 * themselves, before this header. BPF side only, after kernel_types.bpf.h and libbpf's headers.
 */
#ifndef TOPSPIN_PROBES_KERNEL_CAST_BPF_H
#define TOPSPIN_PROBES_KERNEL_CAST_BPF_H

/* The verifier knows it as a constant, and skips what a condition on it excludes. */
extern int LINUX_KERNEL_VERSION __kconfig;
#define TOPSPIN_LINUX(major, minor) ((major) << 16 | (minor) << 8)

extern void* bpf_rdonly_cast(const void* address, __u32 type) __ksym __weak;

/* Reads a field of a structure of which a program has only the address. It is one load with the
 * cast, and without it a call of bpf_probe_read_kernel, which is ten times slower. A bad address
 * reads as 0. */
#ifndef READ_AS
#define READ_AS(type, address, field)                                                            \
  ({                                                                                             \
    __typeof__(((struct type*)0)->field) topspin_value;                                          \
    if (LINUX_KERNEL_VERSION >= TOPSPIN_LINUX(6, 2))                                             \
      topspin_value =                                                                            \
          ((struct type*)bpf_rdonly_cast(address, bpf_core_type_id_kernel(struct type)))->field; \
    else                                                                                         \
      topspin_value = BPF_CORE_READ((struct type*)(address), field);                             \
    topspin_value;                                                                               \
  })
#endif

/* Follows pointers from field to field, as in FOLLOW(task, files, fdt): one load each. It differs
 * from task->files->fdt only in how long the program takes to load. When a program loads a pointer
 * through one that the verifier trusts, the verifier looks for the structure in its lists of what
 * stays trusted, and each look searches all types of the kernel by name (seen in 6.18: 1.6 ms for
 * each such load on each path through the program). It trusts no pointer that was cast. */
#define FOLLOW(pointer, ...)                                                      \
  (LINUX_KERNEL_VERSION >= TOPSPIN_LINUX(6, 2)                                    \
       ? ___arrow(((__typeof__(pointer))bpf_rdonly_cast(                          \
                      pointer, bpf_core_type_id_kernel(__typeof__(*(pointer))))), \
                  __VA_ARGS__)                                                    \
       : ___arrow(pointer, __VA_ARGS__))

#endif
