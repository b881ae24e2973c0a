// The sandbox of the commands that read files: captures, databases, CSV files, verdicts. What they
// read may come from a stranger, so a command gives up everything that its work does not need
// before it reads the first byte.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// The files that the user named. An empty name and "-" are none.
struct SandboxFiles {
  std::vector<std::string> inputs = {};     // only read
  std::vector<std::string> databases = {};  // read; SQLite may write beside an unfinished one
  std::vector<std::string> outputs = {};    // written or created; databases that change too
  bool screen = false;                      // a screen, which the user may save to a file here
};

/// For good: under sudo, becomes the user who called it. Gives up all capabilities (root without
/// sudo keeps those to write into other users' directories and to give them the files). Can
/// open only `files`, with the directories of outputs, and public facts about the host. Executes
/// nothing, opens no socket, starts no process and reaches none (docs/sandbox.md).
///
/// A kernel without Landlock or seccomp filters enforces what it can; `topspin doctor` says which.
/// REQUIRES: no other thread runs yet.
Status enter_sandbox(const SandboxFiles& files);

/// What this kernel has for a sandbox.
struct SandboxSupport {
  bool seccomp = false;
  int landlock_version = 0;  // 0: none
};
SandboxSupport sandbox_support();

}  // namespace topspin
