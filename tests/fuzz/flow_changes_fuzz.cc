// Fuzz target: the bytes of changes of flows that wait in a database. What is taken can be read,
// and written and read again.
#include "store/flows/flow_changes.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  FlowChanges changes;
  (void)changes.add(std::string(fuzz_text(data, size)));
  changes.sort();
  for (size_t i = 0; i < changes.size(); ++i) {
    FlowRow flow, again;
    if (!changes.read(i, flow)) continue;
    const NumberedFlow numbered{changes.number(i), &flow};
    FlowChanges one;
    CHECK(one.add(encode_flow_changes({&numbered, 1})));
    one.sort();
    CHECK(one.size() == 1 && one.read(0, again));
    CHECK(again.last_ns == flow.last_ns && again.owners == flow.owners);
    CHECK(changes.apply(numbered.number, again));
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using namespace topspin;
  std::vector<FlowRow> flows(4);
  std::vector<NumberedFlow> numbered;
  for (size_t i = 0; i < flows.size(); ++i) {
    FlowRow& flow = flows[i];
    flow.last_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i) * 1'000'003;
    flow.packets = {i, i * 1000};
    if (i % 2 == 1) flow.period_ns = 1'000'000'000;
    if (i % 3 == 1) flow.owners = {1, 2};
    numbered.push_back({static_cast<uint32_t>(i * 300), &flow});
  }
  return {encode_flow_changes(numbered), encode_flow_changes({}),
          encode_flow_changes(std::span(numbered).subspan(1, 1))};
}
