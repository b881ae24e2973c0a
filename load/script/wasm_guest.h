// WasmGuest: scripts in WebAssembly. Each client has an instance of the module, which calls the
// functions of docs/scenarios/topspin.h as if they blocked.
//
// Life of such a call: the instance stops in it -> serve() reads its arguments and calls
// ScriptClients -> what has an answer at once is answered, and the instance runs on; otherwise
// resume() has the answer later. Everything here runs on the load's own stack.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/number/csv.h"
#include "load/http/http.h"
#include "load/load.h"
#include "load/script/script_clients.h"
#include "load/script/script_guest.h"
#include "load/wasm/wasi.h"
#include "load/wasm/wasm_calls.h"
#include "load/wasm/wasm_machine.h"

namespace topspin {

class WasmGuest : public ScriptGuest, private WasmCalls {
 public:
  /// At once. Those that leave may take some time for it, and have their instance meanwhile.
  static constexpr uint32_t kMostClients = 10'000;
  static_assert(kMostClients < WasmMachine::kMostInstances);

  /// Checks the module. kUsage says what is wrong with it. `clients` outlives the guest; it is not
  /// used before the load begins.
  static Result<std::unique_ptr<WasmGuest>> open(const LoadOptions& options,
                                                 ScriptClients& clients);

  ScriptState start(uint32_t client) override;
  ScriptState resume(uint32_t client, const Answer& answer) override;
  void drop(uint32_t client) override;
  const std::string& error() const override { return error_; }
  uint64_t memory_max_bytes() const override { return machine_->most_used_bytes(); }

 private:
  struct OwnSocket {
    uint32_t index = ~uint32_t{0};
    uint32_t generation = 0;
  };
  struct Script : WasmClient {
    uint32_t loop = 0;               // of turns
    std::vector<OwnSocket> sockets;  // the guest knows them by their place here
    size_t opening = 0;              // the one that it waits for
    Place into;                      // where what is received goes
    std::unique_ptr<HttpAnswer> response;
    std::string reason;  // of its last failure
  };
  struct Function {
    WasmImport import;
    Served (WasmGuest::*serve)(Script&, const Call&);
  };

  WasmGuest(const LoadOptions& options, ScriptClients& clients);
  static const std::vector<Function>& functions();
  /// Those of functions(), and then those of Wasi.
  static const std::vector<WasmImport>& imports();

  ScriptState go_on(uint32_t client);
  Served serve(Script& script, const Call& call);
  void finish_call(Script& script, const Answer& answer);

  Served answer_when_done(Script& script, const std::optional<Answer>& done);
  bool duration(Script& script, uint64_t argument, int64_t least_ns, int64_t& ns) const;
  OwnSocket* own_socket(Script& script, uint64_t number);
  Served open(Script& script, const Call& call, bool datagrams, bool keeps, int64_t timeout_ns);
  Served receive(Script& script, uint64_t socket, ReceiveWish wish);

  Served id(Script&, const Call&);
  Served time_ns(Script&, const Call&);
  Served sleep(Script&, const Call&);
  Served every(Script&, const Call&);
  Served turn(Script&, const Call&);
  Served step_begin(Script&, const Call&);
  Served step_end(Script&, const Call&);
  Served check(Script&, const Call&);
  Served fail(Script&, const Call&);
  Served random(Script&, const Call&);
  Served target(Script&, const Call&);
  Served udp(Script&, const Call&);
  Served tcp(Script&, const Call&);
  Served send(Script&, const Call&);
  Served recv(Script&, const Call&);
  Served recv_till(Script&, const Call&);
  Served close(Script&, const Call&);
  Served is_open(Script&, const Call&);
  Served reason(Script&, const Call&);
  Served http(Script&, const Call&);
  Served http_body(Script&, const Call&);
  Served http_header(Script&, const Call&);
  Served data_rows(Script&, const Call&);
  Served data_cell(Script&, const Call&);

  ScriptClients& clients_;
  Wasi wasi_;
  std::unique_ptr<WasmMachine> machine_;
  const std::map<std::string, CsvTable>& data_;
  std::string name_;
  uint64_t seed_;
  int64_t timeout_ns_;
  std::vector<Script> scripts_;  // by client
  std::string error_;
  std::string text_;  // what the guest gave
};

}  // namespace topspin
