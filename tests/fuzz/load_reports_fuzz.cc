// Fuzz target: what workers and their coordinator read from the store: the description of a load,
// and a worker's report. What can be read is written as it was.
#include "core/base/check.h"
#include "load/share/job_text.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view bytes = fuzz_text(data, size);
  if (const auto job = decode_job(bytes); job.ok()) {
    const auto again = decode_job(encode_job(*job));
    CHECK(again.ok() && again->target == job->target && again->options == job->options);
    if (const auto options = job_options(*job); !options.ok())
      CHECK(!options.error().message.empty());
  }
  if (auto report = decode_report(bytes); report.ok()) {
    const auto again = decode_report(encode_report(*report));
    CHECK(again.ok() && again->planned == report->planned);
    LoadReport sum = *again;
    sum.merge(std::move(*report));
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using namespace topspin;
  LoadReport report;
  report.until_ns = 1'000'000'000;
  report.clients = 3;
  LoadPart part;
  part.accounts.scheduled = part.accounts.sent = part.accounts.replied = 2;
  part.latency_intended.record_n(100'000, 2);
  report.stages = {{0, part}};
  report.tcp.emplace().connected = 1;
  report.http.emplace().statuses[200] = 2;
  report.errors["EMFILE"] = 1;
  report.invalid_reasons = {"it was too slow"};
  return {encode_job({"udp-pingpong", "127.0.0.1:9", {{"clients", "10"}, {"hold", "3s"}}}),
          encode_job({"http", "http://h/p", {{"stages", "0:5 over 1s"}, {"closed", "true"}}}),
          encode_report(report), encode_report({})};
}
