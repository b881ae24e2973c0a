// script: each client runs a script, as a coroutine.
#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "core/base/read_file.h"
#include "core/base/text.h"
#include "load/script/script_clients.h"
#include "load/wasm/module_limits.h"
#include "load/workloads/workload_type.h"
#if TOPSPIN_HAS_LUA
#include "load/script/lua_guest.h"
#endif
#if TOPSPIN_HAS_WASM
#include "load/script/wasm_guest.h"
#endif

namespace topspin {
namespace {

constexpr size_t kMostScriptBytes = size_t{1} << 20;

/// The words between commas, without the spaces around them.
std::vector<std::string> comma_separated(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view word = text.substr(0, comma);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    if (!word.empty()) words.emplace_back(word);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return words;
}

Error wrong_script(std::string message) {
  return make_error(ErrorCode::kUsage, std::move(message));
}

Status set_script(LoadDraft& draft, const std::string& name) {
  const std::string path = path_of_file(draft, name);
  auto text = read_file(path, kMostScriptBytes);
  if (!text.ok()) return wrong_script(fmt::format("{}: {}", path, text.error().message));
  if (text->find_first_not_of(" \t\r\n") == std::string::npos)
    return wrong_script(
        fmt::format("{} is empty; write a script in Lua that ends with: return "
                    "function(client) ... end",
                    path));
  draft.options.script_text = std::move(*text);
  draft.options.script_name = path.substr(path.rfind('/') + 1);
  return {};
}

Status set_data(LoadDraft& draft, const std::string& paths) {
  for (const std::string& name : comma_separated(paths)) {
    const std::string path = path_of_file(draft, name);
    auto table = read_csv_file(path);
    if (!table.ok()) return wrong_script(table.error().message);
    if (table->rows.empty())
      return wrong_script(fmt::format("{}: the file has no rows below its first line", path));
    draft.options.script_data[name] = *table;
    // By its bare name, too: a script does not know where its data lies.
    draft.options.script_data.emplace(path.substr(path.rfind('/') + 1), std::move(*table));
  }
  return {};
}

Status set_allowed(LoadDraft& draft, const std::string& texts) {
  for (const std::string& text : comma_separated(texts)) {
    TOPSPIN_ASSIGN(const AddressPrefix prefix, parse_address_prefix(text));
    draft.options.script_allowed.push_back(prefix);
  }
  return {};
}

Status set_memory(LoadDraft& draft, const std::string& text) {
  const auto bytes = parse_bytes(text);
  if (!bytes || *bytes < (uint64_t{1} << 20) || *bytes > (uint64_t{1} << 40))
    return wrong_script("is from 1MiB to 1TiB, as \"512MiB\"");
  draft.options.script_memory_bytes = *bytes;
  return {};
}

LoadOption script_text_option(std::string name, std::string help, std::string value_name,
                              std::function<Status(LoadDraft&, const std::string&)> set,
                              std::string default_text = {}) {
  LoadOption option;
  option.value_name = std::move(value_name);
  option.name = std::move(name);
  option.help = std::move(help);
  option.default_text = std::move(default_text);
  option.set = std::move(set);
  return option;
}

/// Opens the guest of the script's language: a module in WebAssembly begins with its magic number.
Result<std::unique_ptr<ScriptGuest>> open_guest(const LoadOptions& options,
                                                ScriptClients& clients) {
  if (is_wasm(options.script_text)) {
#if TOPSPIN_HAS_WASM
    TOPSPIN_ASSIGN(std::unique_ptr<ScriptGuest> guest, WasmGuest::open(options, clients));
    return guest;
#else
    return make_error(ErrorCode::kUnsupported,
                      "this topspin was built without WasmEdge, so it runs no WebAssembly; install "
                      "libwasmedge-dev and libboost-context-dev (Debian 13 or later) and build it "
                      "again. Scripts in Lua work");
#endif
  }
  if (options.script_name.ends_with(".wat"))
    return wrong_script(
        fmt::format("{}: a module as text must be translated first: wat2wasm {} -o "
                    "{}.wasm (package wabt)",
                    options.script_name, options.script_name,
                    options.script_name.substr(0, options.script_name.size() - 4)));
  if (options.script_name.ends_with(".wasm"))
    return wrong_script(fmt::format("{}: it is no module in WebAssembly", options.script_name));
#if TOPSPIN_HAS_LUA
  TOPSPIN_ASSIGN(std::unique_ptr<ScriptGuest> guest, LuaGuest::open(options, clients));
  return guest;
#else
  return make_error(ErrorCode::kUnsupported,
                    "this topspin was built without LuaJIT, so it runs no scripts in Lua; install "
                    "libluajit-5.1-dev and build it again");
#endif
}

Status check_script(const LoadOptions& options) {
  if (options.script_text.empty())
    return wrong_script("the load needs a script: a file in Lua, or a module in WebAssembly");
  ScriptClients nobody;
  nobody.set_mute();
  if (const auto guest = open_guest(options, nobody); !guest.ok()) return guest.error();
  return {};
}

Result<LoadResult> run_script(const LoadOptions& options, const Target& target,
                              const std::atomic<bool>& stop, const LoadProgressSink& progress) {
  const auto clients = std::make_unique<ScriptClients>();
  TOPSPIN_ASSIGN(const auto guest, open_guest(options, *clients));
  clients->set_guest(*guest);
  EngineSettings settings;
  settings.due_once = true;
  settings.waits_for_ever = true;  // a turn may take as long as its script wants
  std::atomic<bool> own_stop = false;
  clients->set_stop(stop, own_stop);
  auto result = run_clients(*clients, options, target, settings, own_stop, progress);
  if (result.ok()) guest->finish(*result);
  return result;
}

}  // namespace

WorkloadType script_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kScript;
  type.help = "Each client runs a script in Lua or WebAssembly, with UDP, TCP and HTTP";
  type.examples =
      "  topspin load script pingpong.lua --target 127.0.0.1:8888 --clients 15000\n"
      "  topspin load script shop.lua --target http://127.0.0.1:8080 --data users.csv\n"
      "  topspin load script pingpong.wasm --target 127.0.0.1:8888 --clients 5000";
  type.any_socket = true;
  type.takes_url = true;
  LoadOption script = script_text_option(
      "script", "The script; docs/scenarios.md says how to write one", "FILE", set_script);
  script.is_positional = true;
  type.options = options_of(
      options_of({script}, options_of(schedule_options(), find_options())),
      {grid_option(),
       script_text_option("data", "CSV files that client:data() may read, separated by commas",
                          "FILES", set_data),
       number_option("seed", "For client:random(), which is the same in each run with this number",
                     0, std::numeric_limits<int64_t>::max(), &LoadOptions::script_seed, "1"),
       of_schedule(duration_option("period",
                                   "For scripts of wrk: each client requests once in this time "
                                   "(default: as soon as it is answered)",
                                   &LoadOptions::script_period_ns)),
       text_option("arguments", "For init() of scripts of wrk, separated by spaces",
                   &LoadOptions::script_arguments),
       script_text_option("allow",
                          "Addresses beside the target that the script may use, as "
                          "\"10.0.0.0/8, ::1\"",
                          "ADDRESSES", set_allowed),
       flag_option("insecure", "Do not verify the certificate of an https:// target",
                   &HttpLoadOptions::insecure),
       of_file(text_option("ca-file", "Certificates to trust, in PEM, instead of the system's",
                           &HttpLoadOptions::ca_file)),
       script_text_option(
           "script-memory",
           "The most memory of the script's objects; of modules in WebAssembly, of the process",
           "BYTES", set_memory, "512MiB")});
  type.check = check_script;
  type.run = run_script;
  return type;
}

}  // namespace topspin
