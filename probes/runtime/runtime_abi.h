/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Shared by the BPF program of this folder and user space. Plain C. */
#ifndef TOPSPIN_PROBES_RUNTIME_ABI_H
#define TOPSPIN_PROBES_RUNTIME_ABI_H

#include <linux/types.h>

#include "probes/bpf/cells_abi.h"

#define TOPSPIN_RUNTIME_KINDS 6
#define TOPSPIN_RUNTIME_OPEN_SPANS 65536 /* at the same time, in all processes */

enum topspin_runtime_action {
  TOPSPIN_RUNTIME_BEGIN = 1,  /* a span begins; one that is open stays unfinished */
  TOPSPIN_RUNTIME_RESUME = 2, /* a span begins, unless one is open */
  TOPSPIN_RUNTIME_END = 3,
};

/* What distinguishes the spans of a kind within one process. */
enum topspin_runtime_key {
  TOPSPIN_RUNTIME_BY_ARGUMENT_1 = 1, /* and 2, 3: an argument of the function */
  TOPSPIN_RUNTIME_BY_THREAD = 4,
  TOPSPIN_RUNTIME_BY_PROCESS = 5,
};

/* A point in a program's code. It is the cookie of its uprobe. */
struct topspin_runtime_point {
  __u8 kind;
  __u8 action;
  __u8 key;
  __u8 go;            /* arguments are in the registers of Go's ABI */
  __u8 when_argument; /* counts only if argument 1 to 3 has this value; 0: always */
  __u8 unused;
  __u16 when_value;
};

struct topspin_runtime_open {
  __u32 process;
  __u32 kind;
  __u64 key;
};

#ifdef __cplusplus
static_assert(sizeof(topspin_runtime_point) == 8 && sizeof(topspin_runtime_open) == 16);
#else
_Static_assert(sizeof(struct topspin_runtime_point) == 8, "a cookie");
_Static_assert(sizeof(struct topspin_runtime_open) == 16, "layout");
#endif

#endif
