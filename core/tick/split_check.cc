#include "core/tick/split_check.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

/// At the edges of a run, one source may see a reply that the other does not: on connections that
/// were open before, and for requests that are under way at the end.
constexpr uint64_t kMinReplies = 20;
constexpr uint64_t kEdgeReplies = 10;
constexpr double kSameCountShare = 0.03;
constexpr double kMissingShare = 0.1;

/// The two sources measure at different places: the capture at packets, the probes at the socket
/// above them. The network stack in between takes some microseconds per reply, and more on a busy
/// host.
constexpr double kMostOverWire = 1.25;
constexpr double kLeastOfWire = 0.75;
constexpr double kStackNs = 50'000;

bool is_multiple(uint64_t count) { return count != 1; }

}  // namespace

std::optional<std::string> doubt_of_split(const SplitTotals& t) {
  const uint64_t wire_replies = t.wire_replies;
  const uint64_t edge =
      kEdgeReplies + static_cast<uint64_t>(kSameCountShare * static_cast<double>(wire_replies));

  // The split counts turns that it does not recognise as replies.
  const uint64_t unrecognised = t.wire_turns - std::min(t.split_turns, t.wire_turns);
  if (unrecognised > kEdgeReplies + t.wire_turns / 2 && t.split_replies > wire_replies + edge) {
    return fmt::format(
        "the split of replies holds turns of TLS handshakes or multiplexed exchanges: the wire saw "
        "{} of those, the probes recognised {}",
        t.wire_turns, t.split_turns);
  }
  if (wire_replies < kMinReplies) return std::nullopt;

  const uint64_t wire_all = wire_replies + t.wire_turns;
  const uint64_t split_all = t.split_replies + t.split_turns;
  const auto missing_limit =
      kEdgeReplies + static_cast<uint64_t>(kMissingShare * static_cast<double>(wire_all));
  if (split_all + missing_limit < wire_all && t.split_replies + missing_limit < wire_replies) {
    return fmt::format(
        "the split of replies has {} of the {} that the wire saw ({:.0f}%)", t.split_replies,
        wire_replies,
        100 * static_cast<double>(t.split_replies) / static_cast<double>(wire_replies));
  }

  // Sums can be compared only over the same replies.
  const uint64_t apart =
      std::max(wire_replies, t.split_replies) - std::min(wire_replies, t.split_replies);
  if (apart > edge) return std::nullopt;
  const auto wire_ns = static_cast<double>(t.wire_sum_ns);
  const auto split_ns = static_cast<double>(t.split_sum_ns);
  const double stack_ns = kStackNs * static_cast<double>(wire_replies);
  if (split_ns <= kMostOverWire * wire_ns + stack_ns &&
      split_ns + stack_ns >= kLeastOfWire * (wire_ns - static_cast<double>(t.wire_held_up_ns)))
    return std::nullopt;
  return fmt::format("the parts of {} {} add up to {}, where the wire saw {} for {} {}",
                     t.split_replies, is_multiple(t.split_replies) ? "replies" : "reply",
                     format_duration(static_cast<int64_t>(t.split_sum_ns)),
                     format_duration(static_cast<int64_t>(t.wire_sum_ns)), wire_replies,
                     is_multiple(wire_replies) ? "replies" : "reply");
}

bool is_doubt_of_split(std::string_view doubt) {
  return doubt.starts_with("the split of replies ") || doubt.starts_with("the parts of ");
}

void SplitCheck::add(const Sample& sample) {
  wire_.merge(sample.flows.reply_latency);
  totals_.wire_turns += sample.flows.handshake_turns + sample.flows.multiplexed_turns;
  held_up_ += sample.flows.tcp_retransmissions;
  late_replies_ += sample.flows.late_replies;
  unanswered_ += sample.flows.unanswered;
  missed_rows_ |= sample.losses.flow_rows_unstored > 0 || sample.losses.evicted_flows > 0;
  for (const FlowRow& row : sample.changed_flows) {
    if (row.replies == 0) continue;
    const bool is_tcp = row.key.protocol == kProtocolTcp;
    (is_tcp ? tcp_ : udp_).responders.set(row.responder().port);
    if (answered_.size() <= kAnsweredMax)
      answered_[row.id] = {row.replies, row.initiator().port, row.responder().port, is_tcp};
  }
  for (const SocketRow& row : sample.changed_sockets)
    (row.protocol == kProtocolTcp ? tcp_ : udp_).subject.set(row.local.port);
  if (!sample.sockets || !sample.sockets->reply_runtime) return;
  has_split_ = true;
  held_up_ += sample.sockets->listen_overflows.value_or(0);
  totals_.split_turns += sample.sockets->replies_multiplexed.value_or(0);
  totals_.split_replies += sample.sockets->reply_runtime->count();
  for (const auto part : {&SocketInterval::reply_socket, &SocketInterval::reply_cpu_queue,
                          &SocketInterval::reply_runtime}) {
    if (const std::optional<Histogram>& time = (*sample.sockets).*part)
      totals_.split_sum_ns += time->sum();
  }
}

/// Doubt if the probes saw the subject answer, but the capture saw others answer the subject.
std::optional<std::string> SplitCheck::doubt_of_ends() const {
  if (totals_.split_replies < kMinReplies || answered_.size() > kAnsweredMax) return std::nullopt;
  uint64_t own = 0, others = 0;
  for (const auto& [id, flow] : answered_) {
    const Ports& subject = (flow.is_tcp ? tcp_ : udp_).subject;
    if (subject.test(flow.responder_port))
      own += flow.replies;
    else if (subject.test(flow.initiator_port))
      others += flow.replies;
  }
  // A subject that also sends requests from its serving ports has both. Then the split has no more
  // replies than the wire shows from the subject.
  const auto edge =
      kEdgeReplies + static_cast<uint64_t>(kSameCountShare * static_cast<double>(own));
  if (others <= own || totals_.split_replies <= own + edge) return std::nullopt;
  return fmt::format(
      "the probes saw {} replies of the subject, and the wire {}: {} replies on its ports came "
      "from the other end, so the capture may have client and server swapped",
      totals_.split_replies, own, others);
}

/// How many latencies are timeouts of replies that never came, counted once their connection or the
/// run is over. They are not replies, and the probes cannot have seen them.
uint64_t SplitCheck::never_came() const {
  uint64_t as_long_as_timeout = 0;
  for (uint32_t i = topspin_histogram_index(reply_timeout_ns_); i < kHistogramBuckets; ++i)
    as_long_as_timeout += wire_.cell(i);
  return std::min(unanswered_ - std::min(late_replies_, unanswered_),
                  as_long_as_timeout - std::min(late_replies_, as_long_as_timeout));
}

/// SplitTotals::wire_held_up_ns: the sum of the longest replies, at the upper edges of their cells.
uint64_t SplitCheck::held_up_ns() const {
  uint64_t left = held_up_, sum_ns = 0;
  const uint64_t none = never_came();
  for (uint32_t i = kHistogramBuckets; i-- > 0 && left != 0;) {
    uint64_t count = wire_.cell(i);
    if (i == topspin_histogram_index(reply_timeout_ns_)) count -= std::min(none, count);
    const uint64_t taken = std::min(left, count);
    left -= taken;
    if (taken != 0) sum_ns += taken * std::min(histogram_bucket_max(i), *wire_.max());
  }
  return sum_ns;
}

std::optional<std::string> SplitCheck::doubt() const {
  if (!has_split_ || missed_rows_) return std::nullopt;
  if (auto doubt = doubt_of_ends()) return doubt;
  for (const Sides* sides : {&tcp_, &udp_}) {
    if ((sides->responders & ~sides->subject).any()) return std::nullopt;
  }
  SplitTotals totals = totals_;
  const uint64_t none = never_came();
  totals.wire_replies = wire_.count() - none;
  totals.wire_sum_ns = wire_.sum() - std::min(none * reply_timeout_ns_, wire_.sum());
  totals.wire_held_up_ns = held_up_ns();
  return doubt_of_split(totals);
}

}  // namespace topspin
