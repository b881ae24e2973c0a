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

}  // namespace topspin
