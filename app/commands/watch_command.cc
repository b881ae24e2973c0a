// `topspin watch`: the flight recorder's options; `topspin watch freeze`.
#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/option_group.h"
#include "app/options/record_options.h"
#include "app/recording/recording.h"
#include "app/watch/flight_recorder.h"
#include "app/watch/watch_lock.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/team_address.h"

namespace topspin {
namespace {

struct WatchOptions {
  RecordOptions record;
  std::vector<std::string> rules;
  std::string keep = "60s";
  std::string after = "5s";
  std::string hold_off = "60s";
  std::string over = "1s";
  std::string ring_size = "64MiB";
  bool packets = false;
  std::string packets_size = "16MiB";
  uint64_t max_incidents = 20;
};

/// Flow rows of a tick that the ring keeps: 2,500 a second, or about 40 MB a minute. With more
/// flows, their rows come in turn.
constexpr int64_t kFlowRowsPerSecond = 2'500;
constexpr uint64_t kFewestFlowRows = 25;
constexpr uint64_t kSmallestRing = 1 << 20;
constexpr uint64_t kLargestPacketRing = uint64_t{4} << 30;
/// The kernel's buffer counts as memory of this process. For small pieces of packets, and at ten
/// wake-ups a second or more, this holds a stall of 300 ms at 200,000 packets a second.
constexpr const char* kBufferMib = "16";
constexpr int64_t kLongestKeepNs = 3600 * kNanosPerSecond;

/// A duration that may be 0.
Result<int64_t> watch_duration(const std::string& text, const char* option) {
  const auto parsed = parse_duration(text);
  if (parsed && *parsed >= 0) return *parsed;
  return wrong_usage(fmt::format("{} {} is no duration; write it as 5s or 500ms", option, text));
}

Result<FlightSettings> flight_settings(const WatchOptions& o) {
  FlightSettings settings;
  settings.database = database_path(o.record.observe.db);
  if (is_team_address(settings.database)) {
    return wrong_usage(
        "watch writes to a file, not to a team's store; `topspin push` sends its incidents there");
  }
  for (const std::string& text : o.rules) {
    TOPSPIN_ASSIGN(WatchRule rule, parse_watch_rule(text));
    settings.rules.push_back(std::move(rule));
  }
  TOPSPIN_ASSIGN(settings.keep_ns, positive_duration(o.keep, "--keep"));
  if (settings.keep_ns > kLongestKeepNs)
    return wrong_usage("--keep can be at most 1h; `topspin record` keeps everything");
  TOPSPIN_ASSIGN(settings.after_ns, watch_duration(o.after, "--after"));
  if (settings.after_ns > kLongestKeepNs) return wrong_usage("--after can be at most 1h");
  TOPSPIN_ASSIGN(settings.hold_off_ns, watch_duration(o.hold_off, "--hold-off"));
  TOPSPIN_ASSIGN(settings.window_ns, positive_duration(o.over, "--over"));
  TOPSPIN_ASSIGN(const int64_t interval_ns,
                 positive_duration(o.record.observe.interval, "--interval"));
  if (settings.window_ns < interval_ns)
    return wrong_usage("--over must be at least as long as a tick (--interval)");
  if (settings.keep_ns < interval_ns)
    return wrong_usage("--keep must be at least as long as a tick (--interval)");
  TOPSPIN_ASSIGN(settings.ring_bytes, size_in_bytes(o.ring_size, "--ring-size"));
  if (settings.ring_bytes < kSmallestRing)
    return wrong_usage("--ring-size must be at least 1MiB: a tick takes 5 to 20 KB and more");
  if (o.packets) {
    TOPSPIN_ASSIGN(settings.packet_bytes, size_in_bytes(o.packets_size, "--packets-size"));
    if (settings.packet_bytes < kSmallestRing || settings.packet_bytes > kLargestPacketRing)
      return wrong_usage("--packets-size must be from 1MiB to 4GiB; `-w` writes all packets");
  }
  if (!o.record.max_size.empty()) {
    TOPSPIN_ASSIGN(settings.limits.max_bytes, size_in_bytes(o.record.max_size, "--max-size"));
  }
  if (!o.record.retain.empty()) {
    TOPSPIN_ASSIGN(settings.limits.keep_ns, positive_duration(o.record.retain, "--keep-runs"));
  }
  settings.limits.max_incidents = o.max_incidents;
  settings.limits.size_is_of_incidents = true;
  settings.quiet = o.record.quiet;
  return settings;
}

int watch(WatchOptions& o) {
  if (const Status filter = check_filter_words(o.record.observe); !filter.ok())
    return fail(filter.error());
  auto settings = flight_settings(o);
  if (!settings.ok()) return fail(settings.error());
  const int64_t interval_ns = parse_duration(o.record.observe.interval).value_or(0);
  o.record.max_rows_per_interval =
      std::max(kFewestFlowRows, static_cast<uint64_t>(static_cast<double>(kFlowRowsPerSecond) *
                                                      static_cast<double>(interval_ns) / 1e9));
  if (o.packets && o.record.snaplen == 0) o.record.snaplen = kWholePackets;
  if (!o.packets && o.record.buffer_size.empty()) o.record.buffer_size = kBufferMib;
  o.record.store = false;
  o.record.quiet = true;  // the flight recorder prints what happens
  FlightRecorder recorder(std::move(settings).value());
  return record(o.record, &recorder);
}

/// `topspin watch freeze [PID]`.
int freeze(const WatchOptions& o) {
  const std::vector<std::string>& words = o.record.observe.filter_words;
  if (words.size() > 2) return fail(wrong_usage("freeze takes one PID, or none"));
  pid_t pid = 0;
  if (words.size() == 2) {
    const std::string wrong = not_a_number_between(words[1], 1, 1 << 22);
    if (!wrong.empty()) return fail(wrong_usage(fmt::format("freeze: {}", wrong)));
    pid = std::stoi(words[1]);
  } else {
    const auto found = find_watch(database_path(o.record.observe.db));
    if (!found.ok()) return fail(found.error());
    pid = *found;
  }
  if (const Status sent = freeze_watch(pid); !sent.ok()) return fail(sent.error());
  say(fmt::format("process {} freezes its ring", pid));
  return 0;
}

}  // namespace

void add_watch_command(CLI::App& root, const TrailingCommand& trailing, Action& action) {
  CLI::App* command = root.add_subcommand(
      "watch",
      "Keep the last minute in memory, and store it when a rule is met: a flight recorder");
  auto o = std::make_shared<WatchOptions>();
  o->record.observe.interval = "100ms";
  const OptionGroup rules(*command, kIncidentsGroup);
  rules.list("--when", o->rules, "RULE",
             "Store an incident when this rule is met, such as 'p99(reply_latency) > 5ms for 3s'; "
             "may be repeated. Without one, only by hand");
  rules.option("--keep", o->keep, "DURATION", "How much is kept before an incident (default 60s)");
  rules.option("--after", o->after, "DURATION", "How much is kept after it began (default 5s)");
  rules.option("--over", o->over, "DURATION",
               "Rules judge counts and percentiles of the last DURATION (default 1s)");
  rules.option("--hold-off", o->hold_off, "DURATION",
               "The least time from one incident to the next (default 60s)");
  rules.option("--ring-size", o->ring_size, "BYTES",
               "The most memory for what is kept (default 64MiB); then it keeps less");
  rules.flag("--packets", o->packets,
             "Keep packets too, and write those of an incident into a pcapng file beside the "
             "database, with the names of processes; whole packets unless -s says otherwise");
  rules.option("--packets-size", o->packets_size, "BYTES",
               "The most memory for packets (default 16MiB); then the oldest go");
  rules.number("--max-incidents", o->max_incidents, "COUNT", 1, 100'000,
               "Keep at most COUNT incidents in the database; the oldest go first (default 20)");
  add_record_options(*command, o->record);
  command->get_option("--interval")->description("Length of a tick (default 100ms)");
  add_database_option(*command, o->record.observe.db);
  add_retention_options(*command, o->record,
                        "Remove the oldest incidents while the database is larger than this, such "
                        "as 500MB; checked after each incident");
  add_metrics_options(*command, o->record);
  OptionGroup(*command, kDisplayGroup)
      .flag("-q,--quiet", o->record.quiet, "Print only which incidents were stored, and errors");
  command->footer(
      "Examples:\n"
      "  topspin watch -i lo --when 'p99(reply_latency) > 5ms for 3s' port 8888\n"
      "  topspin watch --pid 4242 --when 'max(busy_stretch) > 50ms' \\\n"
      "    --when 'silent_flows > 10' --keep 30s\n"
      "  topspin watch -i lo --when 'unanswered > 0' -- node server.js 8888\n"
      "  topspin watch -i eth0 --packets -s 256 --when 'tcp_resets > 0' tcp port 443\n"
      "  topspin watch freeze\n"
      "  topspin watch freeze 4242\n"
      "\n"
      "Nothing is written until a rule is met. `topspin report last` then shows what happened. "
      "`watch freeze` has the watch that writes to the database, or the one with this PID, store "
      "an incident now, and so does SIGUSR1. Ctrl-C ends.");
  command->callback([o, &trailing, &action] {
    o->record.command = trailing;
    action = [o] {
      const std::vector<std::string>& words = o->record.observe.filter_words;
      return !words.empty() && words.front() == "freeze" ? freeze(*o) : watch(*o);
    };
  });
}

}  // namespace topspin
