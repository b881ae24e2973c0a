// `topspin ends`: two recordings of the same flows, of the client's and the server's host, in one
// view. Needs no privilege.
#include <filesystem>
#include <fstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "capture/ends/two_recordings.h"
#include "report/json/reports.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

/// About 100 bytes of memory each.
constexpr uint64_t kEndsPacketsDefault = 2'000'000;
constexpr uint64_t kEndsPacketsMax = 100'000'000;

struct EndsOptions {
  ObserveOptions observe;
  std::string client;
  std::string server;
  std::string format = "text";
  uint64_t packets_max = kEndsPacketsDefault;
};

/// Whether it is a database of runs, which somebody may give in place of its packets.
bool is_run_database(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  constexpr std::string_view kMagic = "SQLite format 3";
  std::string begin(kMagic.size(), '\0');
  std::ifstream(path, std::ios::binary).read(begin.data(), static_cast<long>(begin.size()));
  return begin == kMagic;
}

int compare_ends(const EndsOptions& o) {
  if (o.client == "-" && o.server == "-")
    return fail(wrong_usage("only one of the two files can be standard input (-)"));
  const auto table = flow_table_options(o.observe);
  if (!table.ok()) return fail(table.error());
  const auto filter = filter_text(o.observe);
  if (!filter.ok()) return fail(filter.error());
  look_up_names_in(*filter);
  const Status entered = enter_sandbox({.inputs = {o.client, o.server}});
  if (!entered.ok()) return fail(entered.error());

  for (const std::string* file : {&o.client, &o.server}) {
    if (is_run_database(*file)) {
      return fail(make_error(
          ErrorCode::kInput,
          fmt::format("{} is a database of runs, which holds no packets: record with -w FILE on "
                      "both hosts, and give those files",
                      *file)));
    }
  }
  TwoRecordings recordings;
  recordings.table = *table;
  recordings.client.path = o.client;
  recordings.server.path = o.server;
  for (FileOptions* file : {&recordings.client, &recordings.server}) {
    file->filter = *filter;
    file->max_packets = o.packets_max;
  }
  const auto ends = compare_two_ends(recordings);
  if (!ends.ok()) return fail(ends.error());
  fmt::print("{}", o.format == "json" ? two_ends_json(*ends) : two_ends_text(*ends));
  for (const EndFile* file : {&ends->client, &ends->server})
    if (file->error) return fail(make_error(ErrorCode::kInput, *file->error));
  if (ends->clock.empty()) {
    return fail(make_error(ErrorCode::kInvalidRun,
                           "the clocks of the two files cannot be related: " + ends->why_no_clock));
  }
  return 0;
}

}  // namespace

void add_ends_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(
      "ends",
      "Compare recordings of a client's and a server's host: where replies spent their time");
  auto o = std::make_shared<EndsOptions>();
  command
      ->add_option("CLIENT", o->client,
                   "Capture file of the client's host (record -w, tcpdump -w); - is standard input")
      ->required();
  command->add_option("SERVER", o->server, "Capture file of the server's host, of the same time")
      ->required();
  command
      ->add_option("FILTER", o->observe.filter_words,
                   "Which packets of both files to read: a pcap filter, as for tcpdump")
      ->option_text("FILTER...");
  const OptionGroup capture(*command, kCaptureGroup);
  capture.option("-F", o->observe.filter_file, "FILE", "Read the filter from a file instead");
  capture.choice("--key", o->observe.key, "KEY", {"outer", "inner", "vlan"},
                 "What identifies a flow: the outer addresses and ports (outer, the default), "
                 "those inside tunnels (inner), or the outer ones with VLAN tags (vlan)");
  capture.number("-c,--count", o->packets_max, "COUNT", 1, kEndsPacketsMax,
                 "Read at most COUNT packets of each file; each takes about 100 bytes of memory "
                 "(default 2000000)");
  OptionGroup(*command, kTimeGroup)
      .option("--reply-timeout", o->observe.reply_timeout, "DURATION",
              "A request counts as unanswered after this time (default 1s)");
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", o->format, "FORMAT", {"text", "json"}, "text (default) or json");
  command->footer(
      "Examples:\n"
      "  topspin ends client.pcap server.pcap\n"
      "  topspin ends client.pcap server.pcap --format json 'tcp port 8080'\n"
      "  ssh server cat server.pcap | topspin ends client.pcap -");
  command->callback([o, &action] { action = [o] { return compare_ends(*o); }; });
}

}  // namespace topspin
