// Fuzz target: the bytes of a stored histogram, of each kind. What decodes can be merged,
// summarized and encoded again.
#include "core/number/coarse_histogram.h"
#include "core/number/histogram.h"
#include "tests/fuzz/fuzz.h"

namespace {

template <typename H>
void use(std::string_view bytes) {
  const auto decoded = H::decode(bytes);
  if (!decoded.ok()) return;
  CHECK(H::decode(decoded->encode()).ok());
  H sum = *decoded;
  sum.merge(*decoded);
  (void)sum.summary();
  (void)sum.percentile(0.001);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view bytes = fuzz_text(data, size);
  use<Histogram>(bytes);
  use<SignedHistogram>(bytes);
  use<CoarseHistogram>(bytes);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using namespace topspin;
  Histogram durations;
  SignedHistogram lateness;
  CoarseHistogram waits;
  for (uint64_t value = 1; value < uint64_t{1} << 40; value = value * 3 + 1) {
    durations.record(value);
    waits.record(value);
    lateness.record(static_cast<int64_t>(value));
    lateness.record(-static_cast<int64_t>(value));
  }
  return {durations.encode(),   lateness.encode(),          waits.encode(),
          Histogram().encode(), SignedHistogram().encode(), CoarseHistogram().encode()};
}
