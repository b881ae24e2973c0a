#include "load/share/job_text.h"

#include <fmt/format.h>

#include "load/share/byte_code.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr uint64_t kJobFormat = 1;
constexpr uint64_t kReportFormat = 2;
constexpr size_t kMostReasons = 100;
constexpr uint64_t kMostErrors = 1000;  // errnos and statuses

void write_accounts(ByteWriter& out, const LoadAccounts& accounts) {
  LoadAccounts::for_each_field([&](std::string_view, auto field) { out.number(accounts.*field); });
}

void read_histogram(ByteReader& in, Histogram& into) {
  auto decoded = Histogram::decode(in.text());
  if (decoded.ok())
    into = std::move(decoded).value();
  else
    in.fail();
}

void write_own(ByteWriter& out, const GeneratorCost& own) {
  out.number(own.wall_ns);
  out.number(own.cpu_ns);
  out.number(own.host_busy_ns ? *own.host_busy_ns + 1 : 0);
  out.number(own.host_steal_ns ? *own.host_steal_ns + 1 : 0);
  out.number(own.cpus);
  out.number(own.receive_drops);
  out.number(own.rss_bytes);
  out.number(own.descriptors_max);
  out.number(uint64_t{own.shared_sockets});
  out.number(own.sockets_opened);
}

void write_counts(ByteWriter& out, const std::map<std::string, uint64_t>& counts) {
  out.number(uint64_t{counts.size()});
  for (const auto& [name, count] : counts) {
    out.text(name);
    out.number(count);
  }
}

std::map<std::string, uint64_t> read_counts(ByteReader& in) {
  std::map<std::string, uint64_t> counts;
  for (uint64_t left = in.number(kMostErrors); left > 0 && in.is_good(); --left) {
    std::string name(in.text());
    counts[std::move(name)] = in.number(uint64_t{1} << 48);
  }
  return counts;
}

GeneratorCost read_own(ByteReader& in) {
  const auto optional = [&]() -> std::optional<int64_t> {
    const int64_t value = in.time();
    return value == 0 ? std::nullopt : std::optional(value - 1);
  };
  GeneratorCost own;
  own.wall_ns = in.time();
  own.cpu_ns = in.time();
  own.host_busy_ns = optional();
  own.host_steal_ns = optional();
  own.cpus = static_cast<int64_t>(in.number(1'000'000));
  own.receive_drops = in.number();
  own.rss_bytes = in.time();
  own.descriptors_max = in.number();
  own.shared_sockets = in.number(1) == 1;
  own.sockets_opened = in.number();
  return own;
}

}  // namespace

std::string encode_job(const JobDescription& job) {
  ByteWriter out;
  out.number(kJobFormat);
  out.text(job.workload);
  out.text(job.target);
  out.number(uint64_t{job.options.size()});
  for (const auto& [name, text] : job.options) {
    out.text(name);
    out.text(text);
  }
  return out.take();
}

Result<JobDescription> decode_job(std::string_view bytes) {
  ByteReader in(bytes);
  JobDescription job;
  if (in.number() != kJobFormat) in.fail();
  job.workload = in.text();
  job.target = in.text();
  for (uint64_t count = in.number(1000); count > 0 && in.is_good(); --count) {
    std::string name(in.text());
    job.options[std::move(name)] = in.text();
  }
  if (!in.is_good() || !in.is_at_end())
    return make_error(ErrorCode::kInput,
                      "the description of the load cannot be read; is this "
                      "topspin older than the one that wants it?");
  return job;
}

Result<LoadOptions> job_options(const JobDescription& job) {
  const auto kind = parse_workload(job.workload);
  if (!kind) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("there is no workload \"{}\" in this topspin", job.workload));
  }
  const WorkloadType& type = workload_type(*kind);
  if (!type.can_be_shared) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} cannot be sent by workers: its clients do not move", job.workload));
  }
  for (const LoadOption& option : type.options) {
    // A worker must not send files of its host to whom the store names.
    if (option.is_of_host && job.options.contains(option.name)) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("--{} names a file of one host; workers cannot use it", option.name));
    }
  }
  if (job.options.contains("threads")) {
    return make_error(ErrorCode::kUsage,
                      "--threads is for a load that this host sends; a worker has one");
  }
  TOPSPIN_ASSIGN(LoadOptions options, read_load_options(type, job.target, job.options));
  TOPSPIN_TRY(check_load(options));
  TOPSPIN_ASSIGN(const TargetParts parts, split_target(options.target));
  TOPSPIN_TRY(check_target(parts, options));
  return options;
}

std::string encode_report(const LoadReport& report) {
  ByteWriter out;
  out.number(kReportFormat);
  out.number(report.until_ns);
  out.number(report.clients);
  out.number(uint64_t{report.is_last});
  out.number(uint64_t{report.stages.size()});
  for (const auto& [position, part] : report.stages) {
    out.number(position);
    write_accounts(out, part.accounts);
    out.text(part.latency_intended.encode());
    out.text(part.latency_actual.encode());
    out.text(part.own_lateness.encode());
  }
  out.number(uint64_t{report.tcp.has_value()});
  if (report.tcp) {
    TcpAccounts::for_each_field(
        [&](std::string_view, auto field) { out.number((*report.tcp).*field); });
  }
  out.number(uint64_t{report.http.has_value()});
  if (report.http) {
    out.number(uint64_t{report.http->statuses.size()});
    for (const auto& [status, count] : report.http->statuses) {
      out.number(int64_t{status});
      out.number(count);
    }
    out.number(report.http->body_bytes);
    out.number(report.http->malformed);
    out.text(report.http->malformed_head);
    write_counts(out, report.http->checks);
    write_counts(out, report.http->failures);
    out.number(report.http->sent_again);
    out.number(report.http->cookies_dropped);
  }
  out.number(uint64_t{report.tls.has_value()});
  if (report.tls) {
    out.number(report.tls->handshakes);
    out.number(report.tls->resumed);
    out.number(report.tls->failed);
    write_counts(out, report.tls->versions);
    out.text(report.tls->handshake_latency.encode());
  }
  out.text(report.connect_latency.encode());
  out.number(report.bytes_received);
  out.number(report.port_unreachable);
  write_counts(out, report.errors);
  write_own(out, report.own);
  out.signed_number(report.clock_offset_ns);
  out.number(report.clock_error_ns);
  out.number(report.store_away);
  out.number(report.planned);
  out.number(uint64_t{report.invalid_reasons.size()});
  for (const std::string& reason : report.invalid_reasons) out.text(reason);
  return out.take();
}

Result<LoadReport> decode_report(std::string_view bytes) {
  ByteReader in(bytes);
  LoadReport report;
  if (in.number() != kReportFormat) in.fail();
  report.until_ns = in.time();
  report.clients = static_cast<uint32_t>(in.number(kMaxClients));
  report.is_last = in.number(1) == 1;
  for (uint64_t count = in.number(kMaxStages); count > 0 && in.is_good(); --count) {
    const auto position = static_cast<uint32_t>(in.number(kMaxStages - 1));
    LoadPart& part = report.stages.emplace_back(position, LoadPart{}).second;
    // Sums of reports must not overflow.
    LoadAccounts::for_each_field(
        [&](std::string_view, auto field) { part.accounts.*field = in.number(uint64_t{1} << 48); });
    read_histogram(in, part.latency_intended);
    read_histogram(in, part.latency_actual);
    read_histogram(in, part.own_lateness);
  }
  if (in.number(1) == 1) {
    TcpAccounts& tcp = report.tcp.emplace();
    TcpAccounts::for_each_field(
        [&](std::string_view, auto field) { tcp.*field = in.number(uint64_t{1} << 48); });
  }
  if (in.number(1) == 1) {
    HttpAccounts& http = report.http.emplace();
    for (uint64_t count = in.number(kMostErrors); count > 0 && in.is_good(); --count) {
      const auto status = static_cast<int>(in.number(999));
      http.statuses[status] = in.number(uint64_t{1} << 48);
    }
    http.body_bytes = in.number(uint64_t{1} << 60);
    http.malformed = in.number(uint64_t{1} << 48);
    http.malformed_head = in.text();
    http.checks = read_counts(in);
    http.failures = read_counts(in);
    http.sent_again = in.number(uint64_t{1} << 48);
    http.cookies_dropped = in.number(uint64_t{1} << 48);
  }
  if (in.number(1) == 1) {
    TlsAccounts& tls = report.tls.emplace();
    tls.handshakes = in.number(uint64_t{1} << 48);
    tls.resumed = in.number(uint64_t{1} << 48);
    tls.failed = in.number(uint64_t{1} << 48);
    tls.versions = read_counts(in);
    read_histogram(in, tls.handshake_latency);
  }
  read_histogram(in, report.connect_latency);
  report.bytes_received = in.number(uint64_t{1} << 60);
  report.port_unreachable = in.number(uint64_t{1} << 48);
  report.errors = read_counts(in);
  report.own = read_own(in);
  report.clock_offset_ns = in.signed_number();
  report.clock_error_ns = in.time();
  report.store_away = in.number(uint64_t{1} << 48);
  report.planned = in.number(uint64_t{1} << 48);
  for (uint64_t count = in.number(kMostReasons); count > 0 && in.is_good(); --count)
    report.invalid_reasons.emplace_back(in.text());
  if (!in.is_good() || !in.is_at_end())
    return make_error(ErrorCode::kInput, "a worker's report cannot be read");
  return report;
}

}  // namespace topspin
