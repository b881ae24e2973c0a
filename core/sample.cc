#include "core/sample.h"

namespace topspin {

std::string_view rung_name(Rung rung) {
  switch (rung) {
    case Rung::kTpBtf: return "tp_btf";
    case Rung::kRawTracepoint: return "raw_tp";
    case Rung::kTracepoint: return "tracepoint";
    case Rung::kPerf: return "perf";
    case Rung::kProc: return "proc";
    case Rung::kNone: return "none";
  }
  return "none";
}

std::optional<Rung> parse_rung(std::string_view name) {
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint, Rung::kTracepoint, Rung::kPerf,
                          Rung::kProc, Rung::kNone}) {
    if (rung_name(rung) == name) return rung;
  }
  return std::nullopt;
}

void LossInterval::merge(const LossInterval& later) {
  for_each_field([&](std::string_view, auto field) { this->*field += later.*field; });
}

std::optional<uint64_t> EventCount::scaled() const {
  if (running_ns >= enabled_ns) return count;
  if (running_ns == 0) return std::nullopt;
  const double factor = static_cast<double>(enabled_ns) / static_cast<double>(running_ns);
  return static_cast<uint64_t>(static_cast<double>(count) * factor + 0.5);
}

void CounterInterval::merge(const CounterInterval& later) {
  for_each_field([&](std::string_view, auto field) {
    const auto& from = later.*field;
    if (!from) return;
    auto& into = this->*field;
    if (!into) into.emplace();
    into->count += from->count;
    into->enabled_ns += from->enabled_ns;
    into->running_ns += from->running_ns;
  });
}

}  // namespace topspin
