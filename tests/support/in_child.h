// Runs a part of a test in a child process, which may give up privileges or enter namespaces.
#pragma once

#include <functional>
#include <string>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/check.h"

namespace topspin {

/// Returns what `work` returned in a child. If the child did not exit with 0, its status is
/// appended.
inline std::string in_child(const std::function<std::string()>& work) {
  int ends[2];
  CHECK(::pipe(ends) == 0);
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    const std::string text = work();
    (void)!::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) text += fmt::format(" (the child ended with status {})", status);
  return text;
}

}  // namespace topspin
