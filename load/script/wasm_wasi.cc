// The part of WASI (wasi_snapshot_preview1) that programs need to begin and to end. It has no
// files, no sockets, and no clocks but the two of the load; what is not here returns ENOSYS.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "load/script/client_random.h"
#include "load/script/wasm_guest.h"

namespace topspin {
namespace {

// Of WASI's errno.
constexpr uint64_t kWasiOk = 0, kWasiBadf = 8, kWasiInval = 28, kWasiNosys = 52, kWasiSpipe = 70;
constexpr uint64_t kLastStream = 2;  // 0 to 2 are standard input, output and error
constexpr uint64_t kMostVectors = 1024;

/// A number as WebAssembly has it in memory.
template <typename T>
std::array<char, sizeof(T)> wasi_bytes(T number) {
  std::array<char, sizeof(T)> bytes{};
  for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(number >> (8 * i));
  return bytes;
}

template <typename T>
std::string_view wasi_view(const std::array<char, sizeof(T)>& bytes) {
  return {bytes.data(), bytes.size()};
}

uint64_t wasi_number(std::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i > 0; --i)
    number = number << 8 | static_cast<uint8_t>(bytes[i - 1]);
  return number;
}

}  // namespace

std::vector<WasmGuest::Function> WasmGuest::wasi_functions() {
  constexpr std::string_view kModule = "wasi_snapshot_preview1";
  std::vector<Function> all = {
      {{kModule, "args_get", "ii:i"}, &WasmGuest::wasi_nothing},
      {{kModule, "args_sizes_get", "ii:i"}, &WasmGuest::wasi_sizes},
      {{kModule, "environ_get", "ii:i"}, &WasmGuest::wasi_nothing},
      {{kModule, "environ_sizes_get", "ii:i"}, &WasmGuest::wasi_sizes},
      {{kModule, "clock_res_get", "ii:i"}, &WasmGuest::wasi_clock_resolution},
      {{kModule, "clock_time_get", "iIi:i"}, &WasmGuest::wasi_clock_time},
      {{kModule, "fd_close", "i:i"}, &WasmGuest::wasi_close},
      {{kModule, "fd_fdstat_get", "ii:i"}, &WasmGuest::wasi_fdstat},
      {{kModule, "fd_prestat_get", "ii:i"}, &WasmGuest::wasi_bad_descriptor},
      {{kModule, "fd_prestat_dir_name", "iii:i"}, &WasmGuest::wasi_bad_descriptor},
      {{kModule, "fd_seek", "iIii:i"}, &WasmGuest::wasi_seek},
      {{kModule, "fd_write", "iiii:i"}, &WasmGuest::wasi_write},
      {{kModule, "proc_exit", "i"}, &WasmGuest::wasi_exit},
      {{kModule, "random_get", "ii:i"}, &WasmGuest::wasi_random},
      {{kModule, "sched_yield", ":i"}, &WasmGuest::wasi_nothing},
  };
  // A module that only might use one of these can be loaded.
  struct Missing {
    std::string_view name, type;
  };
  constexpr std::array<Missing, 31> kMissing = {{
      {"fd_advise", "iIIi:i"},
      {"fd_allocate", "iII:i"},
      {"fd_datasync", "i:i"},
      {"fd_fdstat_set_flags", "ii:i"},
      {"fd_fdstat_set_rights", "iII:i"},
      {"fd_filestat_get", "ii:i"},
      {"fd_filestat_set_size", "iI:i"},
      {"fd_filestat_set_times", "iIIi:i"},
      {"fd_pread", "iiiIi:i"},
      {"fd_pwrite", "iiiIi:i"},
      {"fd_read", "iiii:i"},
      {"fd_readdir", "iiiIi:i"},
      {"fd_renumber", "ii:i"},
      {"fd_sync", "i:i"},
      {"fd_tell", "ii:i"},
      {"path_create_directory", "iii:i"},
      {"path_filestat_get", "iiiii:i"},
      {"path_filestat_set_times", "iiiiIIi:i"},
      {"path_link", "iiiiiii:i"},
      {"path_open", "iiiiiIIii:i"},
      {"path_readlink", "iiiiii:i"},
      {"path_remove_directory", "iii:i"},
      {"path_rename", "iiiiii:i"},
      {"path_symlink", "iiiii:i"},
      {"path_unlink_file", "iii:i"},
      {"poll_oneoff", "iiii:i"},
      {"proc_raise", "i:i"},
      {"sock_accept", "iii:i"},
      {"sock_recv", "iiiiii:i"},
      {"sock_send", "iiiii:i"},
      {"sock_shutdown", "ii:i"},
  }};
  for (const Missing& one : kMissing)
    all.push_back({{kModule, one.name, one.type}, &WasmGuest::wasi_no_such});
  return all;
}

WasmGuest::Served WasmGuest::wasi_no_such(Script& script, const Call&) {
  return answer(script, kWasiNosys);
}

WasmGuest::Served WasmGuest::wasi_nothing(Script& script, const Call&) {
  return answer(script, kWasiOk);
}

WasmGuest::Served WasmGuest::wasi_bad_descriptor(Script& script, const Call&) {
  return answer(script, kWasiBadf);
}

/// There are no arguments and no environment.
WasmGuest::Served WasmGuest::wasi_sizes(Script& script, const Call& call) {
  const auto none = wasi_bytes(uint32_t{0});
  if (!write(script, call.arguments[0], wasi_view<uint32_t>(none)) ||
      !write(script, call.arguments[1], wasi_view<uint32_t>(none)))
    return Served::kEnded;
  return answer(script, kWasiOk);
}

/// The wall clock, and the load's own clock as the monotonic one.
WasmGuest::Served WasmGuest::wasi_clock_time(Script& script, const Call& call) {
  if (call.arguments[0] > 1) return answer(script, kWasiInval);
  const int64_t ns = call.arguments[0] == 0 ? wall_now_ns() : clients_.now_ns();
  const auto bytes = wasi_bytes(static_cast<uint64_t>(ns));
  if (!write(script, call.arguments[2], wasi_view<uint64_t>(bytes))) return Served::kEnded;
  return answer(script, kWasiOk);
}

WasmGuest::Served WasmGuest::wasi_clock_resolution(Script& script, const Call& call) {
  if (call.arguments[0] > 1) return answer(script, kWasiInval);
  const auto bytes = wasi_bytes(uint64_t{1});
  if (!write(script, call.arguments[1], wasi_view<uint64_t>(bytes))) return Served::kEnded;
  return answer(script, kWasiOk);
}

WasmGuest::Served WasmGuest::wasi_close(Script& script, const Call& call) {
  return answer(script, call.arguments[0] <= kLastStream ? kWasiOk : kWasiBadf);
}

WasmGuest::Served WasmGuest::wasi_seek(Script& script, const Call& call) {
  return answer(script, call.arguments[0] <= kLastStream ? kWasiSpipe : kWasiBadf);
}

/// The three streams are character devices, so the C library writes line by line.
WasmGuest::Served WasmGuest::wasi_fdstat(Script& script, const Call& call) {
  if (call.arguments[0] > kLastStream) return answer(script, kWasiBadf);
  std::array<char, 24> stat{};
  stat[0] = 2;       // its type: a character device
  stat[8] = 1 << 6;  // its rights: writing
  if (!write(script, call.arguments[1], {stat.data(), stat.size()})) return Served::kEnded;
  return answer(script, kWasiOk);
}

WasmGuest::Served WasmGuest::wasi_write(Script& script, const Call& call) {
  if (call.arguments[0] != 1 && call.arguments[0] != 2) return answer(script, kWasiBadf);
  if (call.arguments[2] > kMostVectors) return answer(script, kWasiInval);
  uint64_t written = 0;
  for (uint64_t i = 0; i < call.arguments[2]; ++i) {
    std::string vector;
    if (!read(script, call.arguments[1] + i * 8, 8, vector)) return Served::kEnded;
    const std::string_view pair = vector;
    if (!read(script, wasi_number(pair.substr(0, 4)), wasi_number(pair.substr(4)), text_))
      return Served::kEnded;
    written += text_.size();
    for (const char c : text_) {
      if (c == '\n')
        clients_.printed(std::exchange(script.line, {}));
      else if (script.line.size() < ScriptClients::kMostPrintedBytes)
        script.line += c;
    }
  }
  const auto bytes = wasi_bytes(static_cast<uint32_t>(written));
  if (!write(script, call.arguments[3], wasi_view<uint32_t>(bytes))) return Served::kEnded;
  return answer(script, kWasiOk);
}

WasmGuest::Served WasmGuest::wasi_exit(Script& script, const Call& call) {
  const auto code = static_cast<uint32_t>(call.arguments[0]);
  script.instance->end_with(code == 0 ? std::string()
                                      : fmt::format("it ended with exit code {}", code));
  return Served::kEnded;
}

/// The same in each run with the same --seed.
WasmGuest::Served WasmGuest::wasi_random(Script& script, const Call& call) {
  if (call.arguments[1] > ScriptClients::kMostInbox) return answer(script, kWasiInval);
  std::string bytes(call.arguments[1], '\0');
  for (char& byte : bytes) byte = static_cast<char>(next_random(script.random) >> 56);
  if (!write(script, call.arguments[0], bytes)) return Served::kEnded;
  return answer(script, kWasiOk);
}

}  // namespace topspin
