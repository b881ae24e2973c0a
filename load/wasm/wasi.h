// The part of WASI (wasi_snapshot_preview1) that programs need to begin and to end. It has no
// files, no sockets, and no clocks but the two of the load; what is not here returns ENOSYS.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "load/wasm/wasm_calls.h"

namespace topspin {

/// What it needs of whoever runs the guests.
struct WasiHost {
  std::function<int64_t()> now_ns;                // the load's clock, which is the monotonic one
  std::function<void(const std::string&)> print;  // a line of a guest
  std::function<uint64_t(uint64_t&)> random;      // the next number, from WasmClient::random
  size_t most_line_bytes = 0;                     // the rest of a line is not printed
};

class Wasi : public WasmCalls {
 public:
  explicit Wasi(WasiHost host) : host_(std::move(host)) {}

  struct Function {
    WasmImport import;
    Served (Wasi::*serve)(WasmClient&, const Call&);
  };
  static const std::vector<Function>& functions();

  /// Serves a call of functions()[index]. It never waits.
  Served serve(size_t index, WasmClient& client, const Call& call) {
    return (this->*functions()[index].serve)(client, call);
  }

 private:
  static std::vector<Function> all_functions();
  Served no_such(WasmClient&, const Call&);
  Served nothing(WasmClient&, const Call&);
  Served sizes(WasmClient&, const Call&);
  Served clock_time(WasmClient&, const Call&);
  Served clock_resolution(WasmClient&, const Call&);
  Served close(WasmClient&, const Call&);
  Served fdstat(WasmClient&, const Call&);
  Served bad_descriptor(WasmClient&, const Call&);
  Served seek(WasmClient&, const Call&);
  Served write_vectors(WasmClient&, const Call&);
  Served exit(WasmClient&, const Call&);
  Served random(WasmClient&, const Call&);
  void print(WasmClient& client, std::string_view text);

  WasiHost host_;
  std::string vectors_, text_;  // what the guest gave
};

}  // namespace topspin
