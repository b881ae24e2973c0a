#include "load/wasm/wasmedge.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/auxv.h>

namespace topspin {
namespace {

Result<WasmEdge> find_wasmedge() {
  // A program without a dynamic linker cannot load a library.
  if (::getauxval(AT_BASE) == 0) {
    return make_error(ErrorCode::kUnsupported,
                      "this topspin is linked statically and cannot load WasmEdge, which runs "
                      "WebAssembly; scripts in Lua work");
  }
  void* library = ::dlopen("libwasmedge.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("a script in WebAssembly needs WasmEdge ({}); install the package libwasmedge0 "
                    "of Debian 13 or later",
                    why == nullptr ? "it cannot be loaded" : why));
  }
  WasmEdge edge;
  const char* missing = nullptr;
#define TOPSPIN_LOAD(name)                                                                         \
  edge.name = reinterpret_cast<decltype(&::WasmEdge_##name)>(::dlsym(library, "WasmEdge_" #name)); \
  if (edge.name == nullptr) missing = "WasmEdge_" #name;
  TOPSPIN_WASMEDGE(TOPSPIN_LOAD)
#undef TOPSPIN_LOAD
  if (missing != nullptr) {
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("the installed WasmEdge does not fit: it has no {}; topspin "
                                  "needs version 0.{}",
                                  missing, WASMEDGE_VERSION_MINOR));
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
