// What the functions that a module imports are made of: reading and writing the guest's memory, and
// answering its call. A base of the classes that have such functions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "load/wasm/wasm_machine.h"

namespace topspin {

/// An instance, and what the functions that it calls keep for it.
struct WasmClient {
  std::unique_ptr<WasmMachine::Instance> instance;
  std::span<const WasmImport> imports;  // those of its machine; they outlive it
  uint64_t random = 0;                  // the generator's state
  std::string line;                     // that it prints, until it ends
};

class WasmCalls {
 public:
  static constexpr uint64_t kMostBytes = uint64_t{1} << 20;  // that a guest gives in one call

  using Call = WasmMachine::Call;
  /// What became of a call: it is answered, the guest waits in it, or the guest has been ended.
  enum class Served : uint8_t { kAnswered, kWaits, kEnded };

  /// "topspin.udp".
  static std::string name_of(std::span<const WasmImport> imports, const Call& call);

 protected:
  // What the arguments of a call say: its place in the guest's memory.
  struct Place {
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  static Served answer(WasmClient& client, uint64_t value);
  /// An error of the script: the guest is not asked to go on.
  static Served end(WasmClient& client, std::string_view what);
  // If they return false, the guest has been ended.
  static bool read(WasmClient& client, uint64_t offset, uint64_t length, std::string& into);
  static bool write(WasmClient& client, uint64_t offset, std::string_view bytes);
  /// Writes as much as there is room for, and answers with the whole length.
  static Served answer_text(WasmClient& client, Place place, std::string_view text);
};

}  // namespace topspin
