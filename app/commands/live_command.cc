// `topspin [live]`: the live monitor, and `-r FILE`: the same screens over a capture file.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/option_group.h"
#include "app/recording/recording.h"
#include "app/sandbox/sandbox.h"
#include "app/screen/live.h"
#include "app/screen/playback.h"
#include "app/screen/turns.h"
#include "capture/flow_tracker.h"

namespace topspin {
namespace {

struct LiveCommand {
  RecordOptions record;
  LookOptions look;
  std::string file;
};

/// With a `wish`, another observation can follow with another subject; with nullptr this is the
/// only one.
int observe(LiveCommand& o, SubjectWish* wish) {
  auto name_process = start_outside_of_sandbox(o.look);
  if (!name_process.ok()) return fail(name_process.error());
  Live live(o.look, !o.record.command.empty(), !o.record.store, std::move(name_process).value(),
            database_path(o.record.observe.db));
  if (wish != nullptr) live.let_subject_change();
  const int code = record(o.record, &live);
  if (wish != nullptr && live.subject_wish()) wish->tell(*live.subject_wish());
  if (live.last_text().empty()) return code;
  // From here on a signal ends the program at once, because the reader may never come.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  fmt::print("{}", live.last_text());
  return code;
}

Status check_packet_file(const LiveCommand& o) {
  if (o.record.packet_file.empty()) return {};
  if (!o.file.empty()) {
    return wrong_usage(
        "-w writes what is captured on an interface, and -r reads a file; to filter a file, use "
        "tcpdump -r FILE -w FILE FILTER");
  }
  if (o.record.packet_file == "-")
    return wrong_usage(
        "live uses standard output for the screen; give -w a file, or use record -w -");
  return {};
}

/// -r: reads the file in the sandbox.
int show_file(const LiveCommand& o) {
  auto name_process = start_outside_of_sandbox(o.look);
  if (!name_process.ok()) return fail(name_process.error());
  const auto filter = filter_text(o.record.observe);
  if (!filter.ok()) return fail(filter.error());
  look_up_names_in(*filter);
  const Status entered =
      enter_sandbox({.inputs = {o.file, o.look.colours}, .screen = !is_plain(o.look)});
  if (!entered.ok()) return fail(entered.error());
  ObserveOptions observe = o.record.observe;
  observe.filter_file.clear();  // read above, and out of reach now
  observe.filter_words = {*filter};
  return play_file(o.file, observe, o.look, o.record.max_packets, std::move(name_process).value());
}

int run_live(LiveCommand& o) {
  if (auto checked = check_look_options(o.look); !checked.ok()) return fail(checked.error());
  if (auto checked = check_filter_words(o.record.observe); !checked.ok())
    return fail(checked.error());
  o.record.observe.count_payload = true;  // the Data column
  if (auto checked = check_packet_file(o); !checked.ok()) return fail(checked.error());
  if (!o.file.empty()) return show_file(o);
  o.record.quiet = true;
  o.record.store = !o.record.observe.db.empty();
  // Liveness judges each flow in each tick, so the tick must have all changed rows.
  o.record.max_rows_per_interval = o.record.observe.max_flows;
  const bool keeps_subject = o.record.store || !o.record.command.empty();
  if (keeps_subject || !screen_is_possible(o.look)) return observe(o, nullptr);
  return observe_in_turn([&o](std::optional<int32_t> pid, SubjectWish& wish) {
    if (pid) {
      o.record.pid = *pid;
      o.record.cgroup.clear();
      o.record.container.clear();
      o.look.screen = "processes";
    }
    return observe(o, &wish);
  });
}

}  // namespace

void add_live_command(CLI::App& root, const TrailingCommand& trailing, Action& action) {
  CLI::App* command =
      root.add_subcommand("live", "Watch flows, latency and threads live; the default command");
  auto o = std::make_shared<LiveCommand>();
  add_record_options(*command, o->record);
  OptionGroup(*command, kCaptureGroup)
      .option("-r,--read", o->file, "FILE", "Show a capture file instead of an interface");
  OptionGroup(*command, kStorageGroup)
      .option("--db", o->record.observe.db, "FILE",
              "Also record into this database (default: store nothing)");
  add_look_options(*command, o->look);
  command->footer(
      "Examples:\n  topspin -i lo 'port 8888'\n  topspin live -i lo --period 1s udp port 8888 -- "
      "node server.js 8888\n  topspin live -i eth0 --once --rows 20\n  topspin live -r "
      "capture.pcap\n  topspin live -i eth0 -w packets.pcap\n\nPress h on the screen for its keys. "
      "Without a terminal it prints one line per tick.");
  command->callback([o, &trailing, &action] {
    o->record.command = trailing;
    action = [o] { return run_live(*o); };
  });
}

}  // namespace topspin
