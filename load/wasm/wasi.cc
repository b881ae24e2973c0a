#include "load/wasm/wasi.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/base/clock.h"

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

const std::vector<Wasi::Function>& Wasi::functions() {
  static const auto* const kAll = new std::vector<Function>(all_functions());
  return *kAll;
}

std::vector<Wasi::Function> Wasi::all_functions() {
  constexpr std::string_view kModule = "wasi_snapshot_preview1";
  std::vector<Function> all = {
      {{kModule, "args_get", "ii:i"}, &Wasi::nothing},
      {{kModule, "args_sizes_get", "ii:i"}, &Wasi::sizes},
      {{kModule, "environ_get", "ii:i"}, &Wasi::nothing},
      {{kModule, "environ_sizes_get", "ii:i"}, &Wasi::sizes},
      {{kModule, "clock_res_get", "ii:i"}, &Wasi::clock_resolution},
      {{kModule, "clock_time_get", "iIi:i"}, &Wasi::clock_time},
      {{kModule, "fd_close", "i:i"}, &Wasi::close},
      {{kModule, "fd_fdstat_get", "ii:i"}, &Wasi::fdstat},
      {{kModule, "fd_prestat_get", "ii:i"}, &Wasi::bad_descriptor},
      {{kModule, "fd_prestat_dir_name", "iii:i"}, &Wasi::bad_descriptor},
      {{kModule, "fd_seek", "iIii:i"}, &Wasi::seek},
      {{kModule, "fd_write", "iiii:i"}, &Wasi::write_vectors},
      {{kModule, "proc_exit", "i"}, &Wasi::exit},
      {{kModule, "random_get", "ii:i"}, &Wasi::random},
      {{kModule, "sched_yield", ":i"}, &Wasi::nothing},
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
    all.push_back({{kModule, one.name, one.type}, &Wasi::no_such});
  return all;
}

Wasi::Served Wasi::no_such(WasmClient& client, const Call&) { return answer(client, kWasiNosys); }

Wasi::Served Wasi::nothing(WasmClient& client, const Call&) { return answer(client, kWasiOk); }

Wasi::Served Wasi::bad_descriptor(WasmClient& client, const Call&) {
  return answer(client, kWasiBadf);
}

/// There are no arguments and no environment.
Wasi::Served Wasi::sizes(WasmClient& client, const Call& call) {
  const auto none = wasi_bytes(uint32_t{0});
  if (!write(client, call.arguments[0], wasi_view<uint32_t>(none)) ||
      !write(client, call.arguments[1], wasi_view<uint32_t>(none)))
    return Served::kEnded;
  return answer(client, kWasiOk);
}

/// The wall clock, and the load's own clock as the monotonic one.
Wasi::Served Wasi::clock_time(WasmClient& client, const Call& call) {
  if (call.arguments[0] > 1) return answer(client, kWasiInval);
  const int64_t ns = call.arguments[0] == 0 ? wall_now_ns() : host_.now_ns();
  const auto bytes = wasi_bytes(static_cast<uint64_t>(ns));
  if (!write(client, call.arguments[2], wasi_view<uint64_t>(bytes))) return Served::kEnded;
  return answer(client, kWasiOk);
}

Wasi::Served Wasi::clock_resolution(WasmClient& client, const Call& call) {
  if (call.arguments[0] > 1) return answer(client, kWasiInval);
  const auto bytes = wasi_bytes(uint64_t{1});
  if (!write(client, call.arguments[1], wasi_view<uint64_t>(bytes))) return Served::kEnded;
  return answer(client, kWasiOk);
}

Wasi::Served Wasi::close(WasmClient& client, const Call& call) {
  return answer(client, call.arguments[0] <= kLastStream ? kWasiOk : kWasiBadf);
}

Wasi::Served Wasi::seek(WasmClient& client, const Call& call) {
  return answer(client, call.arguments[0] <= kLastStream ? kWasiSpipe : kWasiBadf);
}

/// The three streams are character devices, so the C library writes line by line.
Wasi::Served Wasi::fdstat(WasmClient& client, const Call& call) {
  if (call.arguments[0] > kLastStream) return answer(client, kWasiBadf);
  std::array<char, 24> stat{};
  stat[0] = 2;       // its type: a character device
  stat[8] = 1 << 6;  // its rights: writing
  if (!write(client, call.arguments[1], {stat.data(), stat.size()})) return Served::kEnded;
  return answer(client, kWasiOk);
}

/// All pieces together are as long as the bytes of one call may be. They are copied here, on the
/// load's thread, and the guest's own limits do not count that.
Wasi::Served Wasi::write_vectors(WasmClient& client, const Call& call) {
  constexpr uint64_t kVectorBytes = 8;  // an address and a length
  if (call.arguments[0] != 1 && call.arguments[0] != 2) return answer(client, kWasiBadf);
  if (call.arguments[2] > kMostVectors) return answer(client, kWasiInval);
  if (!read(client, call.arguments[1], kVectorBytes * call.arguments[2], vectors_))
    return Served::kEnded;
  const std::string_view vectors = vectors_;
  const auto length_at = [&](size_t at) { return wasi_number(vectors.substr(at + 4, 4)); };
  uint64_t all = 0;
  for (size_t at = 0; at < vectors.size(); at += kVectorBytes) all += length_at(at);
  if (all > kMostBytes) return answer(client, kWasiInval);
  for (size_t at = 0; at < vectors.size(); at += kVectorBytes) {
    if (!read(client, wasi_number(vectors.substr(at, 4)), length_at(at), text_))
      return Served::kEnded;
    print(client, text_);
  }
  const auto bytes = wasi_bytes(static_cast<uint32_t>(all));
  if (!write(client, call.arguments[3], wasi_view<uint32_t>(bytes))) return Served::kEnded;
  return answer(client, kWasiOk);
}

void Wasi::print(WasmClient& client, std::string_view text) {
  for (const char c : text) {
    if (c == '\n')
      host_.print(std::exchange(client.line, {}));
    else if (client.line.size() < host_.most_line_bytes)
      client.line += c;
  }
}

Wasi::Served Wasi::exit(WasmClient& client, const Call& call) {
  const auto code = static_cast<uint32_t>(call.arguments[0]);
  client.instance->end_with(code == 0 ? std::string()
                                      : fmt::format("it ended with exit code {}", code));
  return Served::kEnded;
}

/// The same in each run with the same --seed.
Wasi::Served Wasi::random(WasmClient& client, const Call& call) {
  if (call.arguments[1] > kMostBytes) return answer(client, kWasiInval);
  std::string bytes(call.arguments[1], '\0');
  for (char& byte : bytes) byte = static_cast<char>(host_.random(client.random) >> 56);
  if (!write(client, call.arguments[0], bytes)) return Served::kEnded;
  return answer(client, kWasiOk);
}

}  // namespace topspin
