// Fuzz target: a module in WebAssembly. Its limits are read; where WasmEdge is, it is loaded,
// started and run with calls that are answered by nothing much. Whatever the bytes are, it ends,
// and an error is a text.
#include <array>

#include "core/base/check.h"
#include "load/wasm/module_limits.h"
#include "tests/fuzz/fuzz.h"
#if TOPSPIN_HAS_WASM
#include "load/wasm/wasm_machine.h"
#endif

#if TOPSPIN_HAS_WASM
namespace {

constexpr std::array<topspin::WasmImport, 8> kImports = {{
    {"topspin", "udp", "iii:i"},
    {"topspin", "every", "I"},
    {"topspin", "turn", ":I"},
    {"topspin", "send", "iii:i"},
    {"topspin", "recv", "iiiiI:i"},
    {"topspin", "check", "iii:i"},
    {"topspin", "sleep", "I"},
    {"wasi_snapshot_preview1", "fd_write", "iiii:i"},
}};
constexpr uint64_t kMostBytes = uint64_t{1} << 30;

void run(const topspin::Result<std::unique_ptr<topspin::WasmMachine>>& machine) {
  using namespace topspin;
  auto instance = (*machine)->make_instance();
  if (!instance.ok()) {
    CHECK(!instance.error().message.empty());
    return;
  }
  (*machine)->begin_slice();
  for (int calls = 0; calls < 8; ++calls) {
    const WasmMachine::Event event = (*instance)->run(1);
    if (event == WasmMachine::Event::kFailed) CHECK(!(*instance)->error().empty());
    if (event != WasmMachine::Event::kCalled) return;
    const WasmMachine::Call& call = (*instance)->call();
    CHECK(call.import < kImports.size());
    // As a place and a length.
    if (const auto bytes = (*instance)->memory(call.arguments[1], call.arguments[2]))
      for (uint8_t& byte : *bytes) byte = 1;
    (*instance)->answer(static_cast<uint64_t>(3 - calls));
  }
}

}  // namespace
#endif

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view bytes = fuzz_text(data, size);
  const Status checked = check_module_limits(bytes, "fuzz.wasm");
  CHECK(checked.ok() || !checked.error().message.empty());
#if TOPSPIN_HAS_WASM
  const auto machine = WasmMachine::open(bytes, "fuzz.wasm", kImports, kMostBytes);
  // Where the library is missing, no module can be opened.
  if (machine.ok())
    run(machine);
  else
    CHECK(!machine.error().message.empty());
#endif
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  // docs/scenarios/pingpong.wat, and one with a table, a global, and instructions that fill memory.
  static const char kPing[] =
      "\000asm\001\000\000\000\001\035\005`\003\177\177\177\001\177`\001~\000`\000\001~`\005"
      "\177\177\177\177~\001\177`\001\177\000\002\134\006\007topspin\003udp\000\000\007topspin"
      "\005every\000\001\007topspin\004turn\000\002\007topspin\004send\000\000\007topspin\004re"
      "cv\000\003\007topspin\005check\000\000\003\002\001\004\005\003\001\000\001\007\012\001"
      "\006client\000\006\012J\001H\001\001\177A\000A\000A\000\020\000!\001B\200\224\353\334"
      "\003\020\001\003@\020\002B\000R\004@ \001A\000A\004\020\003\032 \001A\300\000A\300\000A"
      "\000B\200\224\353\334\003\020\004A\004FA\020A\026\020\005\032\014\001\013\013\013\013%"
      "\002\000A\000\013\004PING\000A\020\013\026the answer has 4 bytes";
  static const char kMore[] =
      "\000asm\001\000\000\000\001\031\004`\001~\000`\003\177\177\177\001\177`\004\177\177\177"
      "\177\001\177`\001\177\001\177\002B\003\007topspin\005sleep\000\000\007topspin\004send"
      "\000\001\026wasi_snapshot_preview1\010fd_write\000\002\003\002\001\003\004\005\001p\001"
      "\002\002\005\004\001\001\001\004\006\006\001\177\001A\005\013\007\023\002\006memory\002"
      "\000\006client\000\003\011\007\001\000A\000\013\001\003\012c\001a\001\001~\002@\003@B"
      "\350\007\020\000A\000A\010A\004\020\001\032 \001B\001|!\001 \001B\003V\015\001\014\000"
      "\013\013A\001@\000\032A\000A\001A\300\000\374\013\000 \000A\007F\004@A\007A\000\021\003"
      "\000\032\013A\001A\010A\001A\000\020\002\032A\006$\000D\000\000\000\000\000\000\370\077"
      "\374\002\013\013\012\001\000A\010\013\004text";
  const auto whole = [](const char* text, size_t bytes) { return std::string(text, bytes); };
  return {whole(kPing, 269), whole(kMore, 271), std::string("\0asm\1\0\0\0", 8)};
}
