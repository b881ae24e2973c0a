// Watches the sockets that are open when the probe opens, on kernels where the BPF programs may not
// do it themselves (open_sockets.bpf.h says why). One call, on the thread that opens the probe.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/result.h"

struct bpf_link;

namespace topspin {

/// Runs the iterator `list` (list_files) and creates storage in the map `sockets_fd`, whose values
/// have `value_bytes`, for each socket that it names. A socket that is gone by then is left out.
/// The value is empty, or says how many sockets could not be reached and why.
/// kInternal if the list cannot be read.
Result<std::string> watch_open_sockets(bpf_link* list, int sockets_fd, size_t value_bytes);

}  // namespace topspin
