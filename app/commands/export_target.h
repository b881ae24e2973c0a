// Where an export goes: standard output, a file, or a UDP collector. Owns the descriptor; one
// thread.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// The ending of a file's name in lower case, without its dot: "html"; empty: none.
std::string name_ending(const std::string& path);

/// kUsage: the name promises a format that topspin does not write ("report.pdf"), whatever --format
/// says; the sentence lists `formats`.
Status check_output_name(const std::string& path, const std::string& formats);

/// Every `-o FILE` goes through here: of report, export, compare and gate.
class ExportTarget {
 public:
  /// A file, or standard output for "" and "-". A file appears under its name when it is whole: it
  /// is written beside it and moved by finish(), so that a failure leaves what was there. Where
  /// that cannot be (a mounted file, a directory that may not be written), finish() copies the
  /// whole into the file. A pipe or device is written as it is, and /dev/stdout and the like are
  /// this process's own descriptors. A symbolic link is not followed by root, and by nobody if it
  /// is another user's in a directory that everybody may write. kUsage: it is a database, or what
  /// SQLite keeps beside one; `database`: the one that is read.
  static Result<ExportTarget> open(const std::string& path, const std::string& database);

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
  Status begin_beside(const std::string& path);
  Status copy_into_place();

  UniqueFd owned_;
  int fd_ = -1;
  bool datagrams_ = false;
  size_t sent_bytes_ = 0;   // since the last pause
  std::string name_;        // for messages
  std::string path_;        // the file's, empty: none
  std::string unfinished_;  // what it is written to until then; empty: a file without a name
};

}  // namespace topspin
