// OtlpTarget: where --otlp sends, and with what: the URL of the option, and variables that
// OpenTelemetry has for all programs. Pure.
//
// Headers are secrets (an Authorization). They appear in no message and in no error.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct OtlpTarget {
  std::string base_url;  // without a slash at its end; has no secrets
  std::string metrics_url, logs_url;
  std::vector<std::string> headers;  // "Name: value"
  std::string certificates;          // a file of certificates to trust; empty: the system's
  int64_t interval_ns = 0;           // from one request with metrics to the next

  /// Whether secrets would be sent unencrypted to another host.
  bool shows_headers() const;
};

/// The value of a variable of the environment; null if it is not set.
using VariableReader = std::function<const char*(const char* name)>;

/// `url` is http:// or https://, and a host, a port and a path; /v1/metrics and /v1/logs are
/// appended. kUsage for anything else, and for variables that cannot be understood.
Result<OtlpTarget> otlp_target(const std::string& url, const VariableReader& variable);

}  // namespace topspin
