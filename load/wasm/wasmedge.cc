#include "load/wasm/wasmedge.h"

#include <fmt/format.h>

#include "core/base/shared_library.h"

namespace topspin {
namespace {

Result<WasmEdge> find_wasmedge() {
  TOPSPIN_ASSIGN(
      SharedLibrary library,
      SharedLibrary::open("libwasmedge.so.0",
                          {.needed = "a script in WebAssembly needs WasmEdge",
                           .remedy = "install the package libwasmedge0 of Debian 13 or later",
                           .if_static = "WasmEdge, which runs WebAssembly; scripts in Lua work"}));
  WasmEdge edge;
#define TOPSPIN_LOAD(name) library.find("WasmEdge_" #name, edge.name);
  TOPSPIN_WASMEDGE(TOPSPIN_LOAD)
#undef TOPSPIN_LOAD
  if (!library.missing().empty()) {
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("the installed WasmEdge does not fit: it has no {}; topspin "
                                  "needs version 0.{}",
                                  library.missing(), WASMEDGE_VERSION_MINOR));
  }
  // Its types differ from version to version.
  if (edge.VersionGetMajor() != WASMEDGE_VERSION_MAJOR ||
      edge.VersionGetMinor() != WASMEDGE_VERSION_MINOR) {
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("WasmEdge {}.{} is installed, but this topspin was built for "
                                  "version {}.{}",
                                  edge.VersionGetMajor(), edge.VersionGetMinor(),
                                  WASMEDGE_VERSION_MAJOR, WASMEDGE_VERSION_MINOR));
  }
  edge.LogOff();
  return edge;
}

}  // namespace

Result<const WasmEdge*> load_wasmedge() {
  static const auto* const kFound = new Result<WasmEdge>(find_wasmedge());
  if (!kFound->ok()) return kFound->error();
  return &**kFound;
}

}  // namespace topspin
