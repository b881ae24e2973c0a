// The sandbox of the commands that read files: captures, databases, CSV files, verdicts. What they
// read may come from a stranger, so a command gives up everything that its work does not need
// before it reads the first byte.
#pragma once

#include <string>
#include <vector>

#include "app/host/output_place.h"
#include "core/base/result.h"

namespace topspin {

/// A file that is complete and in its place only when the command has succeeded.
class Output {
 public:
  virtual ~Output() = default;
  /// The directory in which finish_here() and discard_here() rename or remove; empty: nowhere.
  virtual std::string directory() const = 0;
  /// Puts the file into its place, or removes it. finish_output() and discard_output() call these
  /// here, or those of the copy in the process outside of the sandbox.
  virtual Status finish_here() const = 0;
  virtual void discard_here() const = 0;
};

/// The files that the user named. An empty name and "-" are none.
struct SandboxFiles {
  std::vector<std::string> inputs = {};  // only read
  /// Read; SQLite may write beside an unfinished one. To a team's store it connects before it
  /// enters, and then only keeps that connection.
  std::vector<std::string> databases = {};
  std::vector<std::string> changed_databases = {};  // also those that may be created
  const Output* output = nullptr;                   // of -o, open already
  bool screen = false;  // a screen, which the user may save to a file here
};

/// For good: under sudo, becomes the user who called it. Gives up all capabilities (root without
/// sudo keeps CAP_DAC_OVERRIDE). Can open only `files` and public facts about the host. Executes
/// nothing, opens no socket, starts no process and reaches none (docs/sandbox.md). A process
/// outside opens the databases for it, and puts the output into its place.
///
/// A kernel without Landlock or seccomp filters enforces what it can; `topspin doctor` says which.
/// REQUIRES: no other thread runs yet.
Status enter_sandbox(const SandboxFiles& files);

/// What a recording does beyond the usual.
struct RecordingNeeds {
  bool serves = false;                       // on a listening socket that is open
  std::vector<int> rename_directories = {};  // renames within the directory of each descriptor
};

/// For a recording, once everything is open: for good, it executes nothing, becomes no other user,
/// loads no BPF program, opens no Internet socket and reaches into no other process's memory
/// (docs/sandbox.md). The files that it can open are those of its user: Landlock would also keep it
/// from reading about other processes in /proc. REQUIRES: drop_privileges() was called; no child is
/// needed any more.
Status limit_recording(const RecordingNeeds& needs);

/// For a process that sends what it is given and reads the answers: for good, it can open only
/// `files`, and what libraries read to look up names and to check certificates. It starts no
/// program, listens nowhere, and captures nothing. REQUIRES: no_new_privs is set.
Status limit_sender(const std::vector<std::string>& files);

// In the sandbox, the process outside does these three.
Status finish_output(const Output& output);
void discard_output(const Output& output);
Result<NewFile> save_screen();

/// What this kernel has for a sandbox.
struct SandboxSupport {
  bool seccomp = false;
  int landlock_version = 0;  // 0: none
};
SandboxSupport sandbox_support();

}  // namespace topspin
