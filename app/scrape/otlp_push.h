// OtlpPush: sends a MetricsPage to a collector every few seconds, and events when they happen:
// --otlp.
//
// A thread of its own makes the requests and waits for answers, a process of its own sends them
// (OtlpSender), and a queue decides what is sent again and what is dropped (OtlpQueue). So a
// recording waits for nothing of it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "app/scrape/metrics_page.h"
#include "app/scrape/otlp_queue.h"
#include "app/scrape/otlp_sender.h"
#include "app/scrape/otlp_target.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class OtlpPush {
 public:
  /// How long the end of a recording waits until the last numbers are sent.
  static constexpr int64_t kEndPatienceNs = 5 * kNanosPerSecond;

  /// Starts the process that sends. REQUIRES: one thread.
  static Result<std::unique_ptr<OtlpPush>> open(const std::string& url,
                                                const std::optional<UserIdentity>& user);
  ~OtlpPush();
  OtlpPush(const OtlpPush&) = delete;
  OtlpPush& operator=(const OtlpPush&) = delete;

  /// Begins to send `page`, which must live longer. Returns sentences about where.
  std::vector<std::string> serve(const MetricsPage& page);

  pid_t sender_pid() const { return sender_.pid(); }

  // From the recording's thread:
  void log(std::vector<LiveEvent> events);
  OtlpTotals totals() const;
  /// What a user should know; each is returned once.
  std::vector<std::string> take_messages();

  /// Asks for a last request with the page as it is, and for the end. is_finished() when everything
  /// was sent, or cannot be within kEndPatienceNs; what was not sent is dropped, and counted.
  void finish();
  bool is_finished() const;

 private:
  OtlpPush(OtlpTarget target, OtlpSender sender, UniqueFd wake_fd);
  void run();
  void push_metrics();
  bool is_over(int64_t now_ns) const;
  void send_next(int64_t now_ns);
  void take_answer();
  void wait(int64_t now_ns) const;
  void publish();
  void wake() const;

  const OtlpTarget target_;
  const OtlpSender sender_;
  const UniqueFd wake_fd_;
  const MetricsPage* page_ = nullptr;

  // Of the thread.
  OtlpQueue queue_;
  uint64_t pushed_update_ = 0;  // of the page
  int64_t next_metrics_ns_ = 0;
  std::optional<int64_t> end_ns_;
  bool is_sending_ = false;
  bool sender_ended_ = false;

  mutable std::mutex mutex_;
  std::vector<LiveEvent> events_;  // guarded by mutex_, as is what follows
  std::vector<std::string> messages_;
  OtlpTotals totals_;
  bool ending_ = false;
  bool finished_ = false;
  bool end_told_ = false;
  std::thread thread_;
};

}  // namespace topspin
