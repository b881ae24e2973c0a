// OtlpSender: a process that sends requests to a collector, by libcurl.
//
// A recording opens no Internet socket (docs/sandbox.md), so a process of its own does this. It is
// started before anything else is open, has no privileges, reads no packet, and can open only what
// libraries need to look up names and to check certificates. What the recording gets from it is an
// answer of a fixed size for each request. It ends with the recording, or when it is told to.
//
// libcurl is loaded in that process, as libpq and libmicrohttpd are: nobody else needs it. It
// checks certificates, follows no redirect, and takes the proxies of the environment.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "app/host/privileges.h"
#include "app/scrape/otlp_queue.h"
#include "app/scrape/otlp_target.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class OtlpSender {
 public:
  static constexpr long kTimeoutMs = 10'000;  // of a request, as OpenTelemetry's clients have
  static constexpr long kConnectTimeoutMs = 5'000;
  static constexpr size_t kMostAnswerBytes = 64 << 10;  // of a collector; the rest is not looked at

  /// Starts the process as `user`, if given. kUnsupported without libcurl, kInput if the file of
  /// certificates cannot be read. REQUIRES: one thread.
  static Result<OtlpSender> start(const OtlpTarget& target,
                                  const std::optional<UserIdentity>& user);
  OtlpSender(OtlpSender&& other) noexcept;
  OtlpSender& operator=(OtlpSender&&) = delete;
  /// Ends the process, also if a request is under way.
  ~OtlpSender();

  pid_t pid() const { return pid_; }
  /// "libcurl/7.88.1 OpenSSL/3.0.15 ..."
  const std::string& library() const { return library_; }

  /// Hands a request over. False: the process has ended. REQUIRES: every request before it was
  /// answered.
  [[nodiscard]] bool send(const OtlpRequest& request) const;
  /// Readable when there is an answer.
  int answer_fd() const { return process_.get(); }
  /// nullopt: the process has ended.
  std::optional<OtlpAnswer> take_answer() const;

 private:
  OtlpSender(UniqueFd process, pid_t pid) : process_(std::move(process)), pid_(pid) {}

  UniqueFd process_;
  pid_t pid_ = -1;
  std::string library_;
};

}  // namespace topspin
