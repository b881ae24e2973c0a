// Timers: measures timer oversleep (timers.bpf.c), together with a BPF rung of the scheduler probe.
// Attached as long as this object lives. Owned by that rung, on its thread. A failure does not
// affect the rung.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/result.h"

namespace topspin {

class Timers {
 public:
  /// `cpus_fd` is the rung's map of CPUs. Sleeps a few ms, to learn how to recognise the two kinds
  /// of timers that count.
  static Result<std::unique_ptr<Timers>> attach(int cpus_fd);
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  const std::vector<int>& program_fds() const { return program_fds_; }

 private:
  struct Object;
  explicit Timers(std::unique_ptr<Object> object);
  Status learn_functions();

  std::unique_ptr<Object> object_;
  std::vector<int> program_fds_;
};

}  // namespace topspin
