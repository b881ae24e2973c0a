// Fuzz target: the bytes of a stored histogram, of each kind. What decodes can be merged,
// summarized and encoded again.
#include <cstdint>
#include <string_view>

#include "core/coarse_histogram.h"
#include "core/histogram.h"

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
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  use<Histogram>(bytes);
  use<SignedHistogram>(bytes);
  use<CoarseHistogram>(bytes);
  return 0;
}
