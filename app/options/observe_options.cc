#include "app/options/observe_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/host/privileges.h"
#include "app/options/option_group.h"
#include "app/options/program_path.h"
#include "capture/flow_tracker.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {
constexpr int64_t kWindowMaxNs = 3600 * kNanosPerSecond;
}

int64_t default_window_ns(std::optional<int64_t> period_ns) {
  const int64_t period = std::min(period_ns.value_or(0), kWindowMaxNs);
  return std::clamp(period + period / 2, kNanosPerSecond, kWindowMaxNs);
}

void add_flow_options(CLI::App& command, ObserveOptions& options) {
  command
      .add_option(
          "FILTER", options.filter_words,
          "Which packets to capture: a pcap filter, as for tcpdump; it may be several words")
      ->option_text("FILTER...");
  const OptionGroup capture(command, kCaptureGroup);
  capture.option("-F", options.filter_file, "FILE", "Read the filter from a file instead");
  capture.choice("--key", options.key, "KEY", {"outer", "inner", "vlan"},
                 "What identifies a flow: the outer addresses and ports (outer, the default), "
                 "those inside tunnels (inner), or the outer ones with VLAN tags (vlan)");
  capture.option(
      "--max-flows", options.max_flows, "COUNT",
      "Keep at most COUNT flows; those silent longest are removed first (default 1000000)");
  capture.option("--segment-size", options.segment_bytes, "BYTES",
                 "The longest payload of one datagram or segment; longer frames are counted as "
                 "super-packets (default: by the interface's MTU)");
  const OptionGroup time(command, kTimeGroup);
  time.option("--period", options.period, "DURATION",
              "Each client should send once per period, such as 1s or 250ms (default: learned from "
              "regular gaps)");
  time.option("--window", options.window, "DURATION",
              "A flow is active if it was seen within this time (default: 1s, or 1.5 periods if "
              "--period is longer)");
  time.option("--reply-timeout", options.reply_timeout, "DURATION",
              "A request counts as unanswered after this time (default 1s)");
}

void add_label_option(CLI::App& command, std::vector<std::string>& labels) {
  OptionGroup(command, kStorageGroup)
      .list("--label", labels, "KEY=VALUE",
            "Give the run a label, to find it again; may be repeated");
}

Result<std::string> filter_text(const ObserveOptions& options) {
  if (options.filter_file.empty()) return fmt::format("{}", fmt::join(options.filter_words, " "));
  const auto cannot = [&](std::string_view why, int number) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("cannot read the filter file {}: {}", options.filter_file, why),
                      number);
  };
  const UniqueFd file(open_as_invoking_user(options.filter_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return cannot(std::strerror(errno), errno);
  // libpcap needs minutes and gigabytes for a filter of this length.
  constexpr size_t kMostBytes = 64 << 10;
  std::string bytes(kMostBytes + 1, '\0');
  size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot(std::strerror(errno), errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMostBytes) return cannot("it is longer than 64 KiB", 0);
  bytes.resize(size);
  std::istringstream lines(bytes);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    text += line.substr(0, line.find('#'));
    text += ' ';
  }
  return text;
}

Result<uint64_t> size_in_bytes(const std::string& text, const char* option) {
  const auto bytes = parse_bytes(text);
  if (bytes && *bytes > 0) return *bytes;
  return make_error(ErrorCode::kUsage,
                    fmt::format("{} {} is no size; write it as 64MiB or 2GB", option, text));
}

Result<int64_t> positive_duration(const std::string& text, const char* option) {
  const auto ns = parse_duration(text);
  if (!ns || *ns <= 0) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} {} must be a duration above zero, such as 1s, 250ms or 2m", option, text));
  }
  return *ns;
}

Status check_filter_words(const ObserveOptions& options) {
  if (options.filter_words.empty() || !options.filter_file.empty()) return {};
  TOPSPIN_ASSIGN(const std::string filter, filter_text(options));
  const Status compiled = check_filter(filter);
  if (compiled.ok() || compiled.error().code != ErrorCode::kUsage) return {};
  const std::string& first = options.filter_words.front();
  const bool is_command = first.find('/') != std::string::npos
                              ? is_executable(first)
                              : find_program(first, inherited_path(), ".");
  if (!is_command) return {};  // the capture reports what is wrong with it
  return make_error(
      ErrorCode::kUsage,
      fmt::format("\"{}\" is not a filter; if it is the command to start, put -- before it: -- {}",
                  filter, filter));
}

Result<FlowTableOptions> flow_table_options(const ObserveOptions& options) {
  FlowTableOptions table;
  if (!options.period.empty()) {
    TOPSPIN_ASSIGN(table.period_ns, positive_duration(options.period, "--period"));
  }
  if (options.window.empty()) {
    table.window_ns = default_window_ns(table.period_ns);
  } else {
    TOPSPIN_ASSIGN(table.window_ns, positive_duration(options.window, "--window"));
  }
  TOPSPIN_ASSIGN(table.reply_timeout_ns,
                 positive_duration(options.reply_timeout, "--reply-timeout"));
  if (table.window_ns < kNanosPerMilli || table.window_ns > kWindowMaxNs) {
    return make_error(ErrorCode::kUsage, "--window must lie between 1ms and 1h");
  }
  if (options.key == "outer")
    table.key = KeyMode::kOuter;
  else if (options.key == "inner")
    table.key = KeyMode::kInner;
  else
    table.key = KeyMode::kVlan;
  if (options.max_flows == 0)
    return make_error(ErrorCode::kUsage, "--max-flows must be at least 1");
  table.max_flows = options.max_flows;
  table.segment_bytes = options.segment_bytes;
  table.count_payload = options.count_payload;
  return table;
}

Result<std::map<std::string, std::string>> parse_labels(const std::vector<std::string>& labels) {
  std::map<std::string, std::string> parsed;
  for (const std::string& label : labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return make_error(ErrorCode::kUsage, fmt::format("--label {} must be KEY=VALUE", label));
    }
    parsed[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return parsed;
}

std::string database_path(const std::string& given) {
  if (!given.empty()) return given;
  const char* variable = std::getenv("TOPSPIN_DB");
  return variable != nullptr && *variable != '\0' ? variable : "topspin.db";
}

}  // namespace topspin
