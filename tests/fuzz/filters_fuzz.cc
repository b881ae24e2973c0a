// Fuzz target: what a person types to filter rows, and a file of colour rules. What is accepted is
// applied to a few rows.
#include "core/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tui/flows/colour_rules.h"
#include "tui/flows/flow_filter.h"

namespace topspin {
namespace {

std::vector<FlowRow> make_rows() {
  std::vector<FlowRow> rows(2);
  for (FlowRow& row : rows) {
    row.key.low = {{10, 0, 0, 1}, 80};
    row.key.high = {{10, 0, 0, 2}, 40000};
    row.key.protocol = kProtocolTcp;
  }
  rows[1].key.ip_version = 6;
  rows[1].key.protocol = kProtocolUdp;
  return rows;
}

}  // namespace
}  // namespace topspin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  static const std::vector<FlowRow> rows = make_rows();
  const std::string_view text = fuzz_text(data, size);
  const auto filter = FlowFilter::parse(text);
  const auto colours = ColourRules::parse(text);
  CHECK(filter.ok() || !filter.error().message.empty());
  CHECK(colours.ok() || !colours.error().message.empty());
  for (const FlowRow& row : rows) {
    if (filter.ok()) (void)filter->matches(row, {});
    if (colours.ok()) (void)colours->style(row);
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"tcp and (src host 10.0.0.1 or dst net 10.0.0.0/24) and not port 443",
          "ip6 src net fd00::/16 or udp portrange 8000-9000",
          "net 10.0.0.0 mask 255.255.254.0 and ip proto \\tcp",
          "late or missed && ! unanswered || (ended)",
          "port 80 or 443 firefox",
          "# colours\n80/tcp Green\ntcp 10.0.0.0/8,80 *,any red:blue\ndefault white\n"};
}
