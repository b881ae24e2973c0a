// WasmMachine: a module in WebAssembly, of which each client has an instance: its own memory,
// globals and stack. Instances run on one thread, one after the other.
//
// An instance runs until it calls an import, ends or fails. A call is answered by whoever runs it,
// at once or later, so a guest waits wherever it calls something. WasmEdge interprets: guests must
// be able to stop in the middle, which code that was compiled ahead cannot
// (docs/decisions/0021-webassembly.md).
//
// Limits, each of which ends an instance with a reason: instructions and CPU time between two
// waits, 16 MiB of memory each, and the memory of the process.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// A function that modules may import. Its type has a letter for each parameter, 'i' for 32 bits
/// and 'I' for 64, and behind a colon that of its result, if it has one: "iI:i".
struct WasmImport {
  std::string_view module;
  std::string_view name;
  std::string_view type;
};

class WasmMachine {
 public:
  static constexpr uint64_t kMostInstructions = 50'000'000;  // between two waits
  static constexpr int64_t kMostCpuNs = 1'000'000'000;
  /// WasmEdge reserves 12 GiB of addresses for each memory, and a process has 128 TiB: 10,921 were
  /// possible.
  static constexpr uint32_t kMostInstances = 10'800;
  static constexpr size_t kMostArguments = 10;

  enum class Event : uint8_t { kCalled, kReturned, kFailed };
  struct Call {
    size_t import = 0;  // its index
    std::array<uint64_t, kMostArguments> arguments{};
  };
  class Instance;

  /// Checks the module, and that `imports` has all that it imports. kUsage says what is wrong with
  /// it; kUnsupported that WasmEdge is missing. `most_bytes` is how much the memory of the process
  /// may grow from here on. `imports` outlives the machine.
  static Result<std::unique_ptr<WasmMachine>> open(std::string_view bytes, const std::string& name,
                                                   std::span<const WasmImport> imports,
                                                   uint64_t most_bytes);
  ~WasmMachine();
  WasmMachine(const WasmMachine&) = delete;
  WasmMachine& operator=(const WasmMachine&) = delete;

  /// Runs the module's start function. kUsage says why it failed.
  Result<std::unique_ptr<Instance>> make_instance();
  /// A new count of instructions and time begins: the next instance was waiting until now.
  void begin_slice();
  /// How much the memory of the process has grown at most.
  uint64_t most_used_bytes() const;

 private:
  struct Parts;
  explicit WasmMachine(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// REQUIRES: the machine outlives it.
class WasmMachine::Instance {
 public:
  /// If it waits in a call, the call fails, so the guest ends.
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// Runs it from the beginning, with `id` for a function that takes an argument, or from the call
  /// that was answered.
  Event run(uint32_t id);
  /// After kCalled.
  const Call& call() const { return call_; }
  void answer(uint64_t result) { result_ = result; }
  /// The call does not return: the next run() ends with kFailed and this error, or with kReturned
  /// if it is empty.
  void end_with(std::string error);
  bool is_ended_by_us() const { return is_ended_by_us_; }
  /// nullopt if it has called nothing.
  std::optional<Call> last_call() const {
    return has_called_ ? std::optional(call_) : std::nullopt;
  }
  /// After kFailed.
  const std::string& error() const { return error_; }
  /// The bytes of the guest's memory; nullopt if it has not all of them. Valid until run().
  std::optional<std::span<uint8_t>> memory(uint64_t offset, uint64_t length);

 private:
  friend class WasmMachine;
  struct Guest;
  Instance(Parts& machine, std::unique_ptr<Guest> guest);
  void body();

  Parts& machine_;
  std::unique_ptr<Guest> guest_;
  Call call_;
  uint64_t result_ = 0;
  uint32_t id_ = 0;
  bool has_called_ = false;
  bool is_ended_by_us_ = false;
  bool has_failed_ = false;
  std::string error_;
};

}  // namespace topspin
