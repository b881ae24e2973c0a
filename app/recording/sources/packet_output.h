// The file of `-w`.
#pragma once

#include <memory>
#include <string>

#include "capture/source/packet_file.h"
#include "core/base/result.h"

namespace topspin {

/// Opens the file; "-" is standard output. An existing file is truncated. Under sudo it is opened
/// as the invoking user and belongs to that user; root follows no symbolic link. kUsage if it is a
/// database or will become one (`database`; empty: none), a pipe that nobody reads, or a terminal.
Result<std::unique_ptr<PacketFile>> open_packet_file(const std::string& path,
                                                     const std::string& database);

}  // namespace topspin
