#include "probes/proc/proc_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr size_t kFileLimit = 64 << 10;

/// Removes the next word from the front of `text`, and returns it; empty at the end.
std::string_view next_word(std::string_view& text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return text = {};
  text.remove_prefix(begin);
  const size_t end = std::min(text.find_first_of(" \t\n"), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

/// Calls visit(key, rest of line) for each "Key: rest" line.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos) visit(line.substr(0, colon), line.substr(colon + 1));
  }
}

std::optional<int64_t> parse_kib(std::string_view rest) {
  const auto kib = parse_number<int64_t>(next_word(rest));
  if (!kib || *kib < 0 || *kib > INT64_MAX / 1024) return std::nullopt;
  return *kib * 1024;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::vector<int32_t> numbers_in(const std::string& path) {
  std::vector<int32_t> numbers;
  const Directory directory(::opendir(path.c_str()));
  if (!directory) return numbers;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name[0] < '0' || name[0] > '9') continue;
    if (const auto number = parse_number<int32_t>(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

ProcStatus parse_proc_status(std::string_view text) {
  ProcStatus status;
  for_each_line(text, [&](std::string_view key, std::string_view rest) {
    if (key == "Tgid") status.process = parse_number<int32_t>(next_word(rest));
    if (key == "VmRSS") status.rss_bytes = parse_kib(rest);
    if (key == "RssAnon") status.anonymous_bytes = parse_kib(rest);
    if (key == "VmSize") status.vsz_bytes = parse_kib(rest);
    if (key == "VmSwap") status.swap_bytes = parse_kib(rest);
    if (key == "RssFile") status.file_bytes = parse_kib(rest);
    if (key == "RssShmem") status.shared_bytes = parse_kib(rest);
    if (key == "VmPTE") status.page_table_bytes = parse_kib(rest);
    if (key == "Threads") status.threads = parse_number<int64_t>(next_word(rest));
    if (key == "voluntary_ctxt_switches")
      status.voluntary_switches = parse_number<uint64_t>(next_word(rest));
    if (key == "nonvoluntary_ctxt_switches")
      status.involuntary_switches = parse_number<uint64_t>(next_word(rest));
  });
  return status;
}

std::optional<ProcSchedstat> parse_proc_schedstat(std::string_view text) {
  const auto cpu = parse_number<uint64_t>(next_word(text));
  const auto delay = parse_number<uint64_t>(next_word(text));
  const auto slices = parse_number<uint64_t>(next_word(text));
  if (!cpu || !delay || !slices) return std::nullopt;
  return ProcSchedstat{*cpu, *delay, *slices};
}

std::optional<ProcShare> parse_smaps_rollup(std::string_view text) {
  std::optional<int64_t> pss;
  std::optional<int64_t> swap;
  for_each_line(text, [&](std::string_view key, std::string_view rest) {
    if (key == "Pss") pss = parse_kib(rest);
    if (key == "SwapPss") swap = parse_kib(rest);
  });
  if (!pss) return std::nullopt;
  return ProcShare{*pss, swap.value_or(0)};
}

ProcLimits parse_proc_limits(std::string_view text) {
  ProcLimits limits;
  const auto soft = [&](std::string_view name) -> std::optional<int64_t> {
    const size_t at = text.find(name);
    if (at == std::string_view::npos || (at != 0 && text[at - 1] != '\n')) return std::nullopt;
    std::string_view rest = text.substr(at + name.size());
    return parse_number<int64_t>(next_word(rest));  // "unlimited" is not a number
  };
  limits.open_files = soft("Max open files ");
  limits.address_space_bytes = soft("Max address space ");
  return limits;
}

ProcMemory parse_meminfo(std::string_view text) {
  ProcMemory memory;
  for_each_line(text, [&](std::string_view key, std::string_view rest) {
    if (key == "MemTotal") memory.total_bytes = parse_kib(rest);
    if (key == "MemAvailable") memory.available_bytes = parse_kib(rest);
  });
  return memory;
}

ProcPressure parse_pressure(std::string_view text) {
  ProcPressure pressure;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view kind = next_word(line);
    std::optional<uint64_t> total_us;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      if (word.starts_with("total=")) total_us = parse_number<uint64_t>(word.substr(6));
    }
    if (!total_us || *total_us > UINT64_MAX / 1000) continue;
    if (kind == "some") pressure.some_ns = *total_us * 1000;
    if (kind == "full") pressure.full_ns = *total_us * 1000;
  }
  return pressure;
}

std::optional<int64_t> count_ephemeral_ports(std::string_view range, std::string_view reserved) {
  const auto first = parse_number<int64_t>(next_word(range));
  const auto last = parse_number<int64_t>(next_word(range));
  if (!first || !last || *first < 1 || *last > 65535 || *first > *last) return std::nullopt;
  int64_t ports = *last - *first + 1;
  // "8080,9000-9010". Ranges do not overlap, because the kernel prints a bitmap.
  while (!reserved.empty()) {
    const size_t end = std::min(reserved.find_first_of(",\n"), reserved.size());
    const std::string_view part = reserved.substr(0, end);
    reserved.remove_prefix(std::min(end + 1, reserved.size()));
    const auto low = parse_number<int64_t>(part);
    if (!low) continue;
    const size_t dash = part.find('-');
    const auto high =
        dash == std::string_view::npos ? low : parse_number<int64_t>(part.substr(dash + 1));
    if (!high) continue;
    ports -= std::max<int64_t>(0, std::min(*high, *last) - std::max(*low, *first) + 1);
  }
  return ports;
}

ProcReader::ProcReader(std::string root) : root_(std::move(root)) {
  struct statfs info {};
  is_procfs_ = ::statfs(root_.c_str(), &info) == 0 && info.f_type == PROC_SUPER_MAGIC;
}

std::optional<std::string_view> ProcReader::read(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  buffer_.resize(kFileLimit);
  size_t size = 0;
  while (size < buffer_.size()) {
    const ssize_t got = ::read(fd.get(), buffer_.data() + size, buffer_.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  return std::string_view(buffer_).substr(0, size);
}

std::vector<int32_t> ProcReader::processes() const { return numbers_in(root_); }

std::vector<int32_t> ProcReader::threads(int32_t pid) const {
  return numbers_in(fmt::format("{}/{}/task", root_, pid));
}

std::optional<ProcStat> ProcReader::stat(int32_t pid) {
  const auto text = read(fmt::format("{}/{}/stat", root_, pid));
  return text ? parse_proc_stat(*text) : std::nullopt;
}

std::optional<ProcStat> ProcReader::thread_stat(int32_t pid, int32_t tid) {
  const auto text = read(fmt::format("{}/{}/task/{}/stat", root_, pid, tid));
  return text ? parse_proc_stat(*text) : std::nullopt;
}

std::optional<ProcStatus> ProcReader::status(int32_t pid) {
  const auto text = read(fmt::format("{}/{}/status", root_, pid));
  if (!text) return std::nullopt;
  return parse_proc_status(*text);
}

std::optional<ProcStatus> ProcReader::thread_status(int32_t pid, int32_t tid) {
  const auto text = read(fmt::format("{}/{}/task/{}/status", root_, pid, tid));
  if (!text) return std::nullopt;
  return parse_proc_status(*text);
}

std::optional<ProcSchedstat> ProcReader::thread_schedstat(int32_t pid, int32_t tid) {
  const auto text = read(fmt::format("{}/{}/task/{}/schedstat", root_, pid, tid));
  return text ? parse_proc_schedstat(*text) : std::nullopt;
}

std::optional<ProcShare> ProcReader::share(int32_t pid) {
  const auto text = read(fmt::format("{}/{}/smaps_rollup", root_, pid));
  return text ? parse_smaps_rollup(*text) : std::nullopt;
}

std::optional<int64_t> ProcReader::mappings(int32_t pid, int64_t deadline_ns) {
  const UniqueFd fd(::open(fmt::format("{}/{}/maps", root_, pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  buffer_.resize(kFileLimit);
  int64_t lines = 0;
  // Checks the clock only after some chunks. So a short file is always read, even if time passes
  // while we do not run.
  for (int chunk = 1;; ++chunk) {
    const ssize_t got = ::read(fd.get(), buffer_.data(), buffer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return lines;
    lines += std::count(buffer_.data(), buffer_.data() + got, '\n');
    if (chunk % 16 == 0 && monotonic_now_ns() > deadline_ns) return std::nullopt;
  }
}

std::optional<int64_t> ProcReader::fds(int32_t pid) {
  const std::string path = fmt::format("{}/{}/fd", root_, pid);
  struct ::stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  // procfs gives the number of entries from Linux 6.2 on; 0 may mean an older kernel.
  if (is_procfs_ && info.st_size > 0) return info.st_size;
  const Directory directory(::opendir(path.c_str()));
  if (!directory) return std::nullopt;
  int64_t count = 0;
  while (const dirent* entry = ::readdir(directory.get())) count += entry->d_name[0] != '.';
  return count;
}

std::optional<FdKinds> ProcReader::fd_kinds(int32_t pid, int64_t deadline_ns) {
  const Directory directory(::opendir(fmt::format("{}/{}/fd", root_, pid).c_str()));
  if (!directory) return std::nullopt;
  const int fd = ::dirfd(directory.get());
  FdKinds kinds;
  std::array<char, 16> target;  // long enough to recognise the kind
  int64_t count = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    if (++count % 256 == 0 && monotonic_now_ns() > deadline_ns) return std::nullopt;
    const ssize_t length = ::readlinkat(fd, entry->d_name, target.data(), target.size());
    if (length < 0 && errno == ENOENT) continue;  // closed meanwhile
    const std::string_view text(target.data(), length < 0 ? 0 : static_cast<size_t>(length));
    if (text.starts_with("socket:["))
      ++kinds.sockets;
    else if (text.starts_with("pipe:["))
      ++kinds.pipes;
    else if (text.starts_with("anon_inode:"))
      ++kinds.anonymous;
    else if (text.starts_with("/"))
      ++kinds.files;
    else
      ++kinds.others;
  }
  return kinds;
}

std::optional<ProcLimits> ProcReader::limits(int32_t pid) {
  const auto text = read(fmt::format("{}/{}/limits", root_, pid));
  if (!text) return std::nullopt;
  return parse_proc_limits(*text);
}

ProcMemory ProcReader::memory() {
  const auto text = read(root_ + "/meminfo");
  return text ? parse_meminfo(*text) : ProcMemory{};
}

std::optional<ProcPressure> ProcReader::pressure(std::string_view resource) {
  const auto text = read(fmt::format("{}/pressure/{}", root_, resource));
  if (!text) return std::nullopt;
  return parse_pressure(*text);
}

std::optional<int64_t> ProcReader::max_map_count() {
  const auto text = read(root_ + "/sys/vm/max_map_count");
  return text ? parse_number<int64_t>(*text) : std::nullopt;
}

std::optional<int64_t> ProcReader::ephemeral_ports() {
  const auto range = read(root_ + "/sys/net/ipv4/ip_local_port_range");
  if (!range) return std::nullopt;
  const std::string kept(*range);
  const auto reserved = read(root_ + "/sys/net/ipv4/ip_local_reserved_ports");
  return count_ephemeral_ports(kept, reserved.value_or(std::string_view{}));
}

}  // namespace topspin
