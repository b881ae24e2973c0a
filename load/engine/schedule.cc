#include "load/engine/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

__extension__ using Int128 = __int128;

constexpr int kMaxNesting = 8;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Error wrong_item(std::string_view item, std::string_view want) {
  return make_error(ErrorCode::kUsage, fmt::format("in --stages, \"{}\": {}", item, want));
}

/// Removes `word` from the front of `text` if it is there as a whole word.
bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  if (text.size() > word.size() && !is_space(text[word.size()])) return false;
  text = trimmed(text.substr(word.size()));
  return true;
}

/// Removes the two numbers from the front of "A:B REST".
bool take_range(std::string_view& text, uint32_t& from, uint32_t& to) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const size_t end = std::min(text.find_first_of(" \t\n", colon), text.size());
  const auto a = parse_number<uint32_t>(trimmed(text.substr(0, colon)));
  const auto b = parse_number<uint32_t>(text.substr(colon + 1, end - colon - 1));
  if (!a || !b) return false;
  from = *a;
  to = *b;
  text = trimmed(text.substr(end));
  return true;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// Splits at the commas outside of parentheses. nullopt if the parentheses do not match.
std::optional<std::vector<std::string_view>> split_items(std::string_view text) {
  std::vector<std::string_view> items;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth < 0) return std::nullopt;
    if (text[i] == ',' && depth == 0) {
      items.push_back(trimmed(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  if (depth != 0) return std::nullopt;
  items.push_back(trimmed(text.substr(begin)));
  return items;
}

std::string default_name(uint32_t from, uint32_t to) {
  if (from == to) return "hold";
  return from < to ? "ramp_up" : "ramp_down";
}

class StageParser {
 public:
  Status parse(std::string_view text, int nesting) {
    const auto items = split_items(text);
    if (!items) return wrong_item(text, "the parentheses do not match");
    for (const std::string_view item : *items) TOPSPIN_TRY(parse_item(item, nesting));
    return {};
  }

  std::vector<LoadStage> take() { return std::move(stages_); }

 private:
  Status add(std::string_view item, std::string name, uint32_t from, uint32_t to,
             int64_t duration_ns) {
    if (stages_.size() >= kMaxStages) {
      return wrong_item(item, fmt::format("more than {} stages", kMaxStages));
    }
    if (level_ && *level_ != from) {
      return wrong_item(item, fmt::format("begins at {} clients, but the stage before it ends at "
                                          "{}; use the same number, or put a ramp between them",
                                          from, *level_));
    }
    stages_.push_back({std::move(name), from, to, duration_ns});
    level_ = to;
    return {};
  }

  Status parse_item(std::string_view item, int nesting) {
    if (item.empty()) return wrong_item(item, "an item is missing before or after a comma");
    if (const size_t open = item.find("x("); open != std::string_view::npos && item.back() == ')') {
      const auto times = parse_number<uint32_t>(trimmed(item.substr(0, open)));
      if (!times || *times == 0) return wrong_item(item, "write a repeat as 3x(...)");
      if (nesting >= kMaxNesting) return wrong_item(item, "repeats are nested too deeply");
      const std::string_view body = item.substr(open + 2, item.size() - open - 3);
      for (uint32_t i = 0; i < *times; ++i) TOPSPIN_TRY(parse(body, nesting + 1));
      return {};
    }
    std::string_view rest = item;
    std::string name;
    if (const size_t equals = item.find('='); equals != std::string_view::npos) {
      const std::string_view given = trimmed(item.substr(0, equals));
      if (!is_name(given)) {
        return wrong_item(item, "the name of a stage has at most 64 letters, digits, - and _");
      }
      name = given;
      rest = trimmed(item.substr(equals + 1));
    }
    if (take_word(rest, "hold")) {
      const auto duration = parse_duration(rest);
      if (!duration || *duration < 0) return wrong_item(item, "write it as \"hold 30s\"");
      if (!level_)
        return wrong_item(item, "nothing to hold yet: begin with a ramp, as 0:100 over 10s");
      return add(item, name.empty() ? "hold" : name, *level_, *level_, *duration);
    }
    uint32_t from = 0, to = 0;
    if (take_word(rest, "stairs")) {
      constexpr std::string_view kForm = "write it as \"stairs 0:5000 by 1000 every 10s\"";
      if (!take_range(rest, from, to) || !take_word(rest, "by")) return wrong_item(item, kForm);
      const size_t space = rest.find_first_of(" \t\n");
      if (space == std::string_view::npos) return wrong_item(item, kForm);
      const auto step = parse_number<uint32_t>(rest.substr(0, space));
      rest = trimmed(rest.substr(space));
      if (!step || *step == 0 || !take_word(rest, "every")) return wrong_item(item, kForm);
      const auto duration = parse_duration(rest);
      if (!duration || *duration < 0) return wrong_item(item, kForm);
      if (name.empty()) name = "stairs";
      // A stair is a jump and then a hold, as one stage whose level is the jump's `to` throughout.
      uint32_t level = from;
      if (level == to) return add(item, name, level, to, *duration);
      while (level != to) {
        const uint32_t next =
            level < to ? level + std::min(*step, to - level) : level - std::min(*step, level - to);
        TOPSPIN_TRY(add(item, name + "_jump", level, next, 0));
        TOPSPIN_TRY(add(item, name, next, next, *duration));
        level = next;
      }
      return {};
    }
    if (!take_range(rest, from, to) || !take_word(rest, "over")) {
      return wrong_item(item,
                        "expected \"0:100 over 10s\", \"hold 30s\", \"stairs 0:500 by 100 "
                        "every 10s\" or \"3x(...)\"");
    }
    const auto duration = parse_duration(rest);
    if (!duration || *duration < 0) {
      return wrong_item(item,
                        fmt::format("\"{}\" is not a duration; write 10s, 500ms or 2m", rest));
    }
    return add(item, name.empty() ? default_name(from, to) : name, from, to, *duration);
  }

  std::vector<LoadStage> stages_;
  std::optional<uint32_t> level_;
};

/// The second stage with the same name becomes NAME_2, and so on.
void make_names_unique(std::vector<LoadStage>& stages) {
  std::map<std::string, int> seen;
  std::set<std::string> taken;
  for (const LoadStage& stage : stages) taken.insert(stage.name);
  for (LoadStage& stage : stages) {
    const std::string base = stage.name;
    int& count = seen[base];
    if (++count == 1) continue;
    while (taken.contains(fmt::format("{}_{}", base, count))) ++count;
    stage.name = fmt::format("{}_{}", base, count);
    taken.insert(stage.name);
  }
}

/// The share part / whole of the duration, computed exactly and rounded down.
int64_t share_of(int64_t duration_ns, uint64_t part, uint64_t whole) {
  return static_cast<int64_t>(static_cast<Int128>(duration_ns) * static_cast<Int128>(part) /
                              static_cast<Int128>(whole));
}

}  // namespace

Result<std::vector<LoadStage>> parse_stages(std::string_view text) {
  StageParser parser;
  TOPSPIN_TRY(parser.parse(trimmed(text), 0));
  auto stages = parser.take();
  make_names_unique(stages);
  return stages;
}

std::string stages_text(const std::vector<LoadStage>& stages) {
  std::string text;
  for (const LoadStage& stage : stages)
    text += fmt::format("{}{}={}:{} over {}ns", text.empty() ? "" : ", ", stage.name, stage.from,
                        stage.to, stage.duration_ns);
  return text;
}

Result<double> parse_rate(std::string_view text) {
  const std::string_view whole = text;
  double seconds = 1;
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view unit = trimmed(text.substr(slash + 1));
    if (unit == "m" || unit == "min") {
      seconds = 60;
    } else if (unit == "h") {
      seconds = 3600;
    } else if (unit != "s") {
      return make_error(ErrorCode::kUsage,
                        fmt::format("\"{}\" is not a rate; write 10/s, 600/m or 5000/h", whole));
    }
    text = text.substr(0, slash);
  }
  const auto value = parse_number<double>(trimmed(text));
  if (!value || !std::isfinite(*value) || *value <= 0) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("\"{}\" is not a rate; write 10/s, 600/m or 5000/h", whole));
  }
  return *value / seconds;
}

Result<std::vector<LoadStage>> stages_from_rates(uint32_t clients, double arrive_per_s,
                                                 int64_t hold_ns, double leave_per_s) {
  const auto ramp_ns = [&](double rate) -> std::optional<int64_t> {
    if (rate <= 0) return 0;
    const double ns = static_cast<double>(clients) / rate * 1e9;
    if (!(ns <= static_cast<double>(kMaxLoadNs))) return std::nullopt;
    return std::llround(ns);
  };
  const auto up = ramp_ns(arrive_per_s), down = ramp_ns(leave_per_s);
  if (!up || !down) {
    return make_error(ErrorCode::kUsage,
                      "the ramp takes more than 30 days; raise --arrive or --leave");
  }
  std::vector<LoadStage> stages;
  stages.push_back({"ramp_up", 0, clients, *up});
  stages.push_back({"hold", clients, clients, hold_ns});
  stages.push_back({"ramp_down", clients, 0, *down});
  return stages;
}

Result<Schedule> make_schedule(std::vector<LoadStage> stages) {
  Schedule schedule;
  if (stages.empty()) return make_error(ErrorCode::kUsage, "the load has no stages");
  std::vector<uint64_t> standing;  // the stay of each taken slot; its size is the level
  uint64_t joins = stages.front().from;
  for (const LoadStage& stage : stages) {
    if (stage.from > kMaxClients || stage.to > kMaxClients) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("more than {} clients; start several loads", kMaxClients));
    }
    if (stage.to > stage.from) joins += stage.to - stage.from;
    if (stage.duration_ns < 0 || stage.duration_ns > kMaxLoadNs - schedule.end_ns) {
      return make_error(ErrorCode::kUsage, "the load takes more than 30 days; shorten its stages");
    }
    schedule.stage_begin_ns.push_back(schedule.end_ns);
    schedule.end_ns += stage.duration_ns;
    schedule.clients_max = std::max({schedule.clients_max, stage.from, stage.to});
  }
  if (joins > kMaxStays) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} clients come over all repeats, more than {}; repeat less",
                                  joins, kMaxStays));
  }
  schedule.stays.reserve(joins);
  const auto join = [&](uint32_t slot, int64_t at_ns) {
    standing.push_back(schedule.stays.size());
    schedule.stays.push_back({slot, at_ns, schedule.end_ns});
  };
  for (uint32_t slot = 0; slot < stages.front().from; ++slot) join(slot, 0);
  for (size_t s = 0; s < stages.size(); ++s) {
    const LoadStage& stage = stages[s];
    const int64_t begin = schedule.stage_begin_ns[s];
    if (standing.size() != stage.from) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("stage {} begins at {} clients, but {} are there", stage.name,
                                    stage.from, standing.size()));
    }
    for (uint32_t slot = stage.from; slot < stage.to; ++slot) {
      join(slot, begin + share_of(stage.duration_ns, slot - stage.from, stage.to - stage.from));
    }
    for (uint32_t level = stage.from; level > stage.to; --level) {
      const int64_t after =
          share_of(stage.duration_ns, stage.from - level + 1, stage.from - stage.to);
      schedule.stays[standing.back()].leave_ns = begin + after;
      standing.pop_back();
    }
  }
  // A client that leaves at the moment of joining was never present.
  std::erase_if(schedule.stays, [](const ClientStay& c) { return c.join_ns >= c.leave_ns; });
  schedule.stages = std::move(stages);
  return schedule;
}

int64_t client_phase_ns(uint32_t slot, const Rhythm& rhythm) {
  CHECK(rhythm.period_ns > 0);
  const uint64_t turn = slot * 0x9E3779B97F4A7C15u;  // slot / golden ratio, as a fraction of 2^64
  __extension__ using Uint128 = unsigned __int128;
  const auto phase = static_cast<int64_t>(
      (static_cast<Uint128>(turn) * static_cast<uint64_t>(rhythm.period_ns)) >> 64);
  return rhythm.grid_ns > 1 ? phase - phase % rhythm.grid_ns : phase;
}

int64_t first_due_ns(int64_t phase_ns, int64_t period_ns, int64_t from_ns) {
  if (from_ns <= phase_ns) return phase_ns;
  return phase_ns + (from_ns - phase_ns + period_ns - 1) / period_ns * period_ns;
}

uint64_t count_due(int64_t phase_ns, int64_t period_ns, int64_t from_ns, int64_t to_ns) {
  if (to_ns <= from_ns) return 0;
  const int64_t first = first_due_ns(phase_ns, period_ns, from_ns);
  if (first >= to_ns) return 0;
  return static_cast<uint64_t>((to_ns - 1 - first) / period_ns) + 1;
}

uint64_t count_planned(const Schedule& schedule, const Rhythm& rhythm, int64_t until_ns) {
  uint64_t planned = 0;
  for (const ClientStay& client : schedule.stays) {
    planned += count_due(client_phase_ns(client.slot, rhythm), rhythm.period_ns, client.join_ns,
                         std::min(client.leave_ns, until_ns));
  }
  return planned;
}

}  // namespace topspin
