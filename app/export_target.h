// Where an export goes: standard output, a file, or a UDP collector. Owns the descriptor; one
// thread.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "core/unique_fd.h"

namespace topspin {

class ExportTarget {
 public:
  /// A file, or standard output for "" and "-". A file appears under its name when it is whole: it
  /// is written beside it and moved by finish(), so that a failed export leaves what was there.
  static Result<ExportTarget> open(const std::string& path);

  /// Each write() is a datagram to "ADDRESS:PORT" or "[ADDRESS]:PORT". kUsage: it is no such text.
  static Result<ExportTarget> connect_udp(const std::string& collector);

  ExportTarget(ExportTarget&& other) noexcept;
  ExportTarget& operator=(ExportTarget&&) = delete;
  ExportTarget(const ExportTarget&) = delete;
  ExportTarget& operator=(const ExportTarget&) = delete;
  /// Without finish() an unfinished file is removed.
  ~ExportTarget();

  Status write(std::string_view bytes);
  Status finish();

 private:
  ExportTarget() = default;
  Error cannot_write(int os_errno) const;

  UniqueFd owned_;
  int fd_ = -1;
  bool datagrams_ = false;
  size_t sent_bytes_ = 0;   // since the last pause
  std::string name_;        // for messages
  std::string path_;        // the file's, empty: none
  std::string unfinished_;  // what it is written to until then
};

}  // namespace topspin
