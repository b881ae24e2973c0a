#include "load/wasm/wasm_calls.h"

#include <algorithm>

#include <fmt/format.h>

namespace topspin {

std::string WasmCalls::name_of(std::span<const WasmImport> imports, const Call& call) {
  const WasmImport& import = imports[call.import];
  return fmt::format("{}.{}", import.module, import.name);
}

WasmCalls::Served WasmCalls::answer(WasmClient& client, uint64_t value) {
  client.instance->answer(value);
  return Served::kAnswered;
}

WasmCalls::Served WasmCalls::end(WasmClient& client, std::string_view what) {
  client.instance->end_with(
      fmt::format("{}: {}", name_of(client.imports, client.instance->call()), what));
  return Served::kEnded;
}

bool WasmCalls::read(WasmClient& client, uint64_t offset, uint64_t length, std::string& into) {
  const auto bytes = client.instance->memory(offset, length);
  if (!bytes || length > kMostBytes) {
    (void)end(client, bytes ? fmt::format("more than {} bytes in one call", kMostBytes)
                            : "what it was given is outside of the memory");
    return false;
  }
  into.assign(bytes->begin(), bytes->end());
  return true;
}

bool WasmCalls::write(WasmClient& client, uint64_t offset, std::string_view bytes) {
  const auto place = client.instance->memory(offset, bytes.size());
  if (!place) {
    (void)end(client, "the place for its result is outside of the memory");
    return false;
  }
  std::copy(bytes.begin(), bytes.end(), place->begin());
  return true;
}

WasmCalls::Served WasmCalls::answer_text(WasmClient& client, Place place, std::string_view text) {
  if (!write(client, place.offset, text.substr(0, place.length))) return Served::kEnded;
  return answer(client, text.size());
}

}  // namespace topspin
