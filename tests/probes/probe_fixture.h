// Shared by the privileged tests of probes: opening on a forced rung, a skip that says exactly why
// BPF cannot be used, and memory that is shared with the subject. Test support.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/check.h"
#include "probes/bpf/capabilities.h"
#include "probes/probes.h"

namespace topspin {

inline SubjectSpec process_tree(pid_t pid) {
  SubjectSpec spec;
  spec.kind = SubjectSpec::Kind::kProcessTree;
  spec.pid = pid;
  return spec;
}

inline ProbeOptions on_rung(Rung rung) {
  ProbeOptions options;
  options.forced["scheduler"] = rung;
  return options;
}

/// Why BPF tracing cannot be expected here; nullopt if it must work.
inline std::optional<std::string> no_bpf_reason() {
  if (!has_effective_capability(CAP_BPF) || !has_effective_capability(CAP_PERFMON))
    return "needs cap_bpf and cap_perfmon: run the tests as root";
  if (::access("/sys/kernel/btf/vmlinux", R_OK) != 0)
    return "needs /sys/kernel/btf/vmlinux: this kernel has no BTF";
  return std::nullopt;
}

/// An object in memory that is shared with child processes.
template <typename T>
class Shared {
 public:
  Shared() {
    void* memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    value_ = new (memory) T{};
  }
  ~Shared() { ::munmap(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() { return value_; }

 private:
  T* value_;
};

#define SKIP_WITHOUT_BPF() \
  if (const auto reason = no_bpf_reason()) GTEST_SKIP() << *reason

/// Skips if the kernel hid some switches of the subject from the probe. (That happens in a few of a
/// hundred runs on a busy virtual machine, and topspin counts it.) Slices and sleeps are then
/// missing, so exact numbers cannot be compared.
#define SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval)   \
  if ((interval).losses.scheduler_hidden_switches > 0) \
  GTEST_SKIP() << "needs every switch to be shown: the kernel hid one"

/// Opens `name` (a Probes) on `subject`, and fails the test unless its rung is `wanted`.
#define OPEN_ON_RUNG(name, subject, options, wanted)                \
  auto name##_result = Probes::open(subject, options);              \
  ASSERT_TRUE(name##_result.ok()) << name##_result.error().message; \
  auto name = std::move(name##_result).value();                     \
  ASSERT_EQ(rung_name(name->status()[0].rung), rung_name(wanted)) << name->status()[0].reason

}  // namespace topspin
