// Where an export goes: standard output, a file, or a UDP collector. Owns the descriptor; one
// thread.
#pragma once

#include <string>
#include <string_view>

#include "app/sandbox/sandbox.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// The extension of a file's name in lower case, without its dot: "html". Empty if it has none.
std::string name_ending(const std::string& path);

/// kUsage if the name has the extension of a format that topspin does not write ("report.pdf"),
/// even if --format is given. The message lists `formats`.
Status check_output_name(const std::string& path, const std::string& formats);

/// Every `-o FILE` of report, export, compare and gate goes through this class.
class ExportTarget final : public Output {
 public:
  /// Opens a file, or standard output for "" and "-". A file appears under its name only when it is
  /// complete: it is written under another name in the same directory, and finish() renames it. If
  /// writing fails, the old file stays. If a rename is impossible (a mounted file, a directory that
  /// is not writable), finish() copies the complete text into the file. A pipe or device is written
  /// directly, and /dev/stdout and the like are this process's own descriptors. Root does not
  /// follow symbolic links. No user follows one that another user has put into a directory that
  /// everybody may write to. kUsage if the path is a database or a file that SQLite keeps beside
  /// one. `database` is the one that the command reads.
  static Result<ExportTarget> open(const std::string& path, const std::string& database);

  /// Each write() sends a datagram to "ADDRESS:PORT" or "[ADDRESS]:PORT". kUsage if `text` is
  /// neither.
  static Result<ExportTarget> connect_udp(const std::string& collector);

  ExportTarget(ExportTarget&& other) noexcept;
  ExportTarget& operator=(ExportTarget&&) = delete;
  ExportTarget(const ExportTarget&) = delete;
  ExportTarget& operator=(const ExportTarget&) = delete;
  /// Removes the file if finish() was not called.
  ~ExportTarget() override;

  Status write(std::string_view bytes);
  /// Both work in the sandbox, if it was entered with this target as the output. It must not be
  /// moved between.
  Status finish();

  std::string directory() const override;
  Status finish_here() const override;
  void discard_here() const override;

 private:
  ExportTarget() = default;
  Error cannot_write(int os_errno) const;
  Status begin_beside(const std::string& path);
  Status copy_into_place() const;

  UniqueFd owned_;
  int fd_ = -1;
  bool datagrams_ = false;
  size_t sent_bytes_ = 0;   // since the last pause
  std::string name_;        // for messages
  std::string path_;        // of the file; empty: none
  std::string unfinished_;  // the temporary name until finish(); empty: an unnamed file
};

}  // namespace topspin
