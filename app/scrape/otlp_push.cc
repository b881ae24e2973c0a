#include "app/scrape/otlp_push.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/text.h"

namespace topspin {
namespace {

/// The first numbers are there after the first tick.
constexpr int64_t kFirstMetricsNs = 2 * kNanosPerSecond;

}  // namespace

Result<std::unique_ptr<OtlpPush>> OtlpPush::open(const std::string& url,
                                                 const std::optional<UserIdentity>& user) {
  TOPSPIN_ASSIGN(OtlpTarget target,
                 otlp_target(url, [](const char* name) { return std::getenv(name); }));
  UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd) return make_error(ErrorCode::kInternal, "eventfd failed", errno);
  TOPSPIN_ASSIGN(OtlpSender sender, OtlpSender::start(target, user));
  return std::unique_ptr<OtlpPush>(
      new OtlpPush(std::move(target), std::move(sender), std::move(wake_fd)));
}

OtlpPush::OtlpPush(OtlpTarget target, OtlpSender sender, UniqueFd wake_fd)
    : target_(std::move(target)),
      sender_(std::move(sender)),
      wake_fd_(std::move(wake_fd)),
      queue_(target_.base_url, std::random_device{}()) {}

std::vector<std::string> OtlpPush::serve(const MetricsPage& page) {
  page_ = &page;
  thread_ = std::thread([this] { run(); });
  std::vector<std::string> sentences = {
      fmt::format("the numbers are sent to {} every {} (by {})", target_.base_url,
                  format_duration(target_.interval_ns), sanitize_for_terminal(sender_.library()))};
  if (target_.shows_headers())
    sentences.emplace_back("the headers for it are sent unencrypted; use https://");
  return sentences;
}

OtlpPush::~OtlpPush() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    finished_ = true;  // now
  }
  wake();
  thread_.join();
}

void OtlpPush::wake() const {
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof one);
}

void OtlpPush::log(std::vector<LiveEvent> events) {
  if (events.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    std::move(events.begin(), events.end(), std::back_inserter(events_));
  }
  wake();
}

OtlpTotals OtlpPush::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

std::vector<std::string> OtlpPush::take_messages() {
  const std::lock_guard lock(mutex_);
  return std::exchange(messages_, {});
}

void OtlpPush::finish() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
}

bool OtlpPush::is_finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

void OtlpPush::run() {
  pthread_setname_np(pthread_self(), "topspin-otlp");
  next_metrics_ns_ = monotonic_now_ns() + std::min(kFirstMetricsNs, target_.interval_ns);
  while (true) {
    std::vector<LiveEvent> events;
    bool ending = false, now = false;
    {
      const std::lock_guard lock(mutex_);
      events = std::exchange(events_, {});
      ending = ending_;
      now = finished_;
    }
    const int64_t now_ns = monotonic_now_ns();
    if (!events.empty()) queue_.push(otlp_logs(page_->snapshot().run, events));
    if (ending && !end_ns_) {
      end_ns_ = now_ns + kEndPatienceNs;
      push_metrics();
    } else if (!ending && now_ns >= next_metrics_ns_) {
      push_metrics();
      next_metrics_ns_ = std::max(next_metrics_ns_ + target_.interval_ns, now_ns);
    }
    if (!now) send_next(now_ns);
    if (now || is_over(now_ns)) break;
    publish();
    wait(now_ns);
    take_answer();
  }
  queue_.abandon();
  publish();
  const std::lock_guard lock(mutex_);
  finished_ = true;
}

/// Does nothing if the page has not changed since the last time.
void OtlpPush::push_metrics() {
  const MetricsSnapshot page = page_->snapshot();
  if (page.update == pushed_update_) return;
  pushed_update_ = page.update;
  queue_.push(otlp_metrics(page.run, *page.fold, page.facts, page.wall_ns));
}

bool OtlpPush::is_over(int64_t now_ns) const {
  if (!end_ns_) return false;
  const auto due_ns = queue_.due_ns();
  return queue_.empty() || sender_ended_ || now_ns >= *end_ns_ || (due_ns && *due_ns >= *end_ns_);
}

void OtlpPush::send_next(int64_t now_ns) {
  if (sender_ended_) {
    queue_.abandon();
    return;
  }
  const OtlpRequest* request = queue_.take(now_ns);
  if (request == nullptr) return;
  is_sending_ = sender_.send(*request);
  sender_ended_ = !is_sending_;
}

/// Waits for an answer, for something to do, or for the time at which there is.
void OtlpPush::wait(int64_t now_ns) const {
  int64_t until_ns = end_ns_ ? *end_ns_ : next_metrics_ns_;
  if (const auto due_ns = queue_.due_ns()) until_ns = std::min(until_ns, *due_ns);
  std::array<pollfd, 2> fds{{{wake_fd_.get(), POLLIN, 0}, {sender_.answer_fd(), POLLIN, 0}}};
  const int64_t wait_ms = (until_ns - now_ns) / kNanosPerMilli + 1;
  ::poll(fds.data(), is_sending_ ? 2 : 1,
         static_cast<int>(std::clamp<int64_t>(wait_ms, 0, 60'000)));
  uint64_t ignored = 0;
  (void)!::read(wake_fd_.get(), &ignored, sizeof ignored);
}

void OtlpPush::take_answer() {
  pollfd fd{sender_.answer_fd(), POLLIN, 0};
  if (!is_sending_ || ::poll(&fd, 1, 0) <= 0) return;
  is_sending_ = false;
  if (const auto answer = sender_.take_answer()) {
    queue_.answered(*answer, monotonic_now_ns());
    return;
  }
  sender_ended_ = true;
}

void OtlpPush::publish() {
  std::vector<std::string> messages = queue_.take_messages();
  const std::lock_guard lock(mutex_);
  if (sender_ended_ && !ending_ && !std::exchange(end_told_, true))
    messages_.emplace_back("the process that sends for --otlp has ended; nothing more is sent");
  std::move(messages.begin(), messages.end(), std::back_inserter(messages_));
  totals_ = queue_.totals();
}

}  // namespace topspin
