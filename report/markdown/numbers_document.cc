#include "report/markdown/numbers_document.h"

#include <fmt/format.h>

#include "core/tick/numbers.h"

namespace topspin {
namespace {

constexpr std::string_view kIntroduction = R"(# The numbers of a tick

This page lists every number that topspin measures once per tick. It is generated from the registry
in the source (`core/tick/numbers.h`), and a test keeps it up to date.

A number has the same name everywhere: as a column of the table `tick` or a histogram of the table
`histogram` ([schema.md](schema.md)), as a field in NDJSON and CSV ([export.md](export.md)), and in
rules, where the unit may be left out ([plans.md](plans.md)). A name that ends in `_ns` is a time in
nanoseconds, and one that ends in `_bytes` is a size in bytes. Any other is a plain count.

The kind says how ticks are combined:

| kind | what it is | over several ticks |
| --- | --- | --- |
| count | what happened in the interval | the sum |
| gauge | the value at the end of the interval | the last one |
| maximum | the greatest value within the interval | the greatest |
| total | counted since the subject began | the last one |
| distribution | a histogram of the interval | merged |
| state | yes or no | yes, if any was |

A number is the sum over the subject's processes, or over all flows, unless its line says otherwise:
*nearest* is of the process that is nearest to its limit, and *whole* is of the whole host, network
namespace or cgroup.
)";

std::string_view scope_name(NumberScope scope) {
  switch (scope) {
    case NumberScope::kSum: return "";
    case NumberScope::kNearest: return ", nearest";
    case NumberScope::kWhole: return ", whole";
  }
  return "";
}

std::string_view loss_kind_name(LossKind kind) {
  switch (kind) {
    case LossKind::kUnseen: return "loss";
    case LossKind::kPart: return "part";
    case LossKind::kRow: return "row";
    case LossKind::kNote: return "note";
  }
  return "loss";
}

std::string_view limit_text(LossLimit limit) {
  switch (limit) {
    case LossLimit::kNone: return "no";
    case LossLimit::kAny: return "any";
    case LossLimit::kShareOfPackets: return "above 0.1% of all packets";
    case LossLimit::kShareOfTicks: return "above 10% of all ticks";
  }
  return "no";
}

std::string loss_row(const Number& number) {
  return fmt::format("| `{}` | {} | {} | {} |\n", number.name, loss_kind_name(*number.loss),
                     number.help, limit_text(number.limit));
}

/// Losses that only a probe has do not make a run unusable.
std::string row(const Number& number) {
  const std::string kind =
      number.loss ? fmt::format("loss, *{}*", loss_kind_name(*number.loss))
                  : fmt::format("{}{}", number_kind_name(number.kind), scope_name(number.scope));
  return fmt::format("| `{}` | {} | {} |\n", number.name, kind, number.help);
}

std::string_view heading(std::string_view probe) {
  if (probe == "losses")
    return "\n## losses\n\n[losses.md](losses.md) explains the kinds. All are counts. Rules and "
           "reports name them without\n`loss_`.\n\n| name | kind | what | makes a run not usable "
           "|\n| --- | --- | --- | --- |\n";
  return "";
}

}  // namespace

std::string numbers_document() {
  std::string text(kIntroduction);
  std::string_view probe;
  for (const RegisteredNumber& number : numbers()) {
    if (number.probe != probe) {
      probe = number.probe;
      const std::string_view special = heading(probe);
      text += special.empty()
                  ? fmt::format("\n## {}\n\n| name | kind | what |\n| --- | --- | --- |\n", probe)
                  : std::string(special);
    }
    text += probe == "losses" ? loss_row(number) : row(number);
  }
  return text;
}

}  // namespace topspin
