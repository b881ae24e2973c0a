#include "store/sql/histogram_functions.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/number/coarse_histogram.h"
#include "core/number/histogram.h"
#include "core/number/saturating.h"
#include "core/tick/reply_parts.h"
#include "core/tick/sample.h"

namespace topspin {
namespace {

/// Each of its encodings begins with the number of its format (core/number).
using AnyHistogram = std::variant<Histogram, SignedHistogram, CoarseHistogram>;

template <typename H>
Result<AnyHistogram> decode_as(std::string_view bytes) {
  TOPSPIN_ASSIGN(H histogram, H::decode(bytes));
  return AnyHistogram(std::move(histogram));
}

Result<AnyHistogram> decode_any(std::string_view bytes) {
  constexpr char kSigned = 2, kCoarse = 3;
  if (bytes.starts_with(kSigned)) return decode_as<SignedHistogram>(bytes);
  if (bytes.starts_with(kCoarse)) return decode_as<CoarseHistogram>(bytes);
  return decode_as<Histogram>(bytes);
}

/// nullopt for NULL: what was not measured has no percentile.
Result<std::optional<AnyHistogram>> histogram_of(std::string_view function, const SqlValue& value) {
  if (is_null(value)) return std::optional<AnyHistogram>();
  const auto* blob = std::get_if<SqlBlob>(&value);
  if (blob == nullptr) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{}() takes a histogram, such as the column reply_latency_ns of "
                    "totals, and was given {}",
                    function, std::holds_alternative<std::string>(value) ? "a text" : "a number"));
  }
  TOPSPIN_ASSIGN(AnyHistogram histogram, decode_any(blob->bytes));
  return std::optional(std::move(histogram));
}

template <typename T>
SqlValue integer_or_null(const std::optional<T>& value) {
  if (!value) return {};
  return static_cast<int64_t>(*value);
}

std::optional<double> number_of(const SqlValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

Result<SqlValue> percentile(std::span<const SqlValue> arguments) {
  TOPSPIN_ASSIGN(const auto histogram, histogram_of("percentile", arguments[0]));
  const auto quantile = number_of(arguments[1]);
  if (!quantile || !(*quantile >= 0 && *quantile <= 1)) {
    return make_error(ErrorCode::kUsage,
                      "the second argument of percentile() is a share from 0 to 1, such as 0.99");
  }
  if (!histogram) return SqlValue();
  return std::visit([&](const auto& h) { return integer_or_null(h.percentile(*quantile)); },
                    *histogram);
}

SqlValue count_of(const AnyHistogram& histogram) {
  const uint64_t count = std::visit([](const auto& h) { return h.count(); }, histogram);
  return static_cast<int64_t>(std::min<uint64_t>(count, INT64_MAX));
}
SqlValue sum_of(const AnyHistogram& histogram) {
  return std::visit([](const auto& h) { return SqlValue(static_cast<int64_t>(h.sum())); },
                    histogram);
}
SqlValue mean_of(const AnyHistogram& histogram) {
  return std::visit(
      [](const auto& h) {
        if (h.empty()) return SqlValue();
        return SqlValue(static_cast<double>(h.sum()) / static_cast<double>(h.count()));
      },
      histogram);
}
/// The least value of a coarse histogram is not known.
SqlValue min_of(const AnyHistogram& histogram) {
  return std::visit([](const auto& h) { return integer_or_null(h.summary().min); }, histogram);
}
SqlValue max_of(const AnyHistogram& histogram) {
  return std::visit([](const auto& h) { return integer_or_null(h.max()); }, histogram);
}

struct Measure {
  const char* name;
  SqlValue (*take)(const AnyHistogram&);
};
constexpr std::array<Measure, 5> kMeasures = {{{"hist_count", count_of},
                                               {"hist_sum", sum_of},
                                               {"hist_mean", mean_of},
                                               {"hist_min", min_of},
                                               {"hist_max", max_of}}};

/// merge(hist): the histogram of all values of the group. NULL if it has no histogram.
class MergedHistograms final : public SqlAggregate {
 public:
  Status add(const SqlValue& value) override {
    TOPSPIN_ASSIGN(auto histogram, histogram_of("merge", value));
    if (!histogram) return {};
    if (!merged_) {
      merged_ = std::move(histogram);
      return {};
    }
    if (merged_->index() != histogram->index()) {
      return make_error(ErrorCode::kUsage,
                        "merge() was given histograms of different kinds: lateness is signed, and "
                        "those of a thread have coarse buckets");
    }
    std::visit(
        [&](auto& into) {
          into.merge(std::get<std::remove_reference_t<decltype(into)>>(*histogram));
        },
        *merged_);
    return {};
  }

  Result<SqlValue> result() override {
    if (!merged_) return SqlValue();
    return std::visit([](const auto& h) { return SqlValue(SqlBlob{h.encode()}); }, *merged_);
  }

 private:
  std::optional<AnyHistogram> merged_;
};

/// checked_histogram(hist, run, name) is hist. If it is damaged, the error says whose it is.
Result<SqlValue> checked_histogram(std::span<const SqlValue> arguments) {
  const auto* blob = std::get_if<SqlBlob>(&arguments[0]);
  if (is_null(arguments[0]) || (blob != nullptr && decode_any(blob->bytes).ok()))
    return arguments[0];
  const auto* run = std::get_if<int64_t>(&arguments[1]);
  const auto* name = std::get_if<std::string>(&arguments[2]);
  return make_error(ErrorCode::kInput,
                    fmt::format("run #{} is damaged: its histogram {} cannot be read",
                                run == nullptr ? 0 : *run, name == nullptr ? "" : *name));
}

/// scaled_count(count, enabled_ns, running_ns): a perf event's count for the whole time.
Result<SqlValue> scaled_count(std::span<const SqlValue> arguments) {
  std::array<uint64_t, 3> of{};
  for (size_t i = 0; i < of.size(); ++i) {
    const auto* value = std::get_if<int64_t>(&arguments[i]);
    if (value == nullptr || *value < 0) return SqlValue();
    of[i] = static_cast<uint64_t>(*value);
  }
  return integer_or_null(EventCount{of[0], of[1], of[2]}.scaled());
}

/// A part of a reply by its name, or by that of the three parts that are shown first
/// (docs/sockets.md).
struct PartName {
  std::string_view name;
  bool (*has)(ReplyPart part);
};
bool is_of_cpu_queue(ReplyPart part) {
  return part == ReplyPart::kUnreadCpuQueue || part == ReplyPart::kInsideCpuQueue;
}
bool is_of_socket(ReplyPart part) {
  return part <= ReplyPart::kUnreadUnknown && !is_of_cpu_queue(part);
}
bool is_of_runtime(ReplyPart part) { return !is_of_socket(part) && !is_of_cpu_queue(part); }
constexpr std::array<PartName, 3> kThreeParts = {
    {{"socket", is_of_socket}, {"cpu_queue", is_of_cpu_queue}, {"runtime", is_of_runtime}}};

std::string_view without_ns(std::string_view name) {
  constexpr std::string_view kUnit = "_ns";
  if (name.ends_with(kUnit)) name.remove_suffix(kUnit.size());
  return name;
}

/// The number after "NAME": in the text that json_object() made; nullopt if there is none.
std::optional<int64_t> find_in_object(std::string_view object, std::string_view name) {
  const std::string key = fmt::format("\"{}\":", name);
  const size_t at = object.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = object.substr(at + key.size());
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

/// part(reply, name): nanoseconds of a reply in that part.
Result<SqlValue> part(std::span<const SqlValue> arguments) {
  if (is_null(arguments[0])) return SqlValue();
  const auto* reply = std::get_if<std::string>(&arguments[0]);
  const auto* wanted = std::get_if<std::string>(&arguments[1]);
  const std::string_view name = wanted == nullptr ? "" : without_ns(*wanted);
  const auto three = std::find_if(kThreeParts.begin(), kThreeParts.end(),
                                  [&](const PartName& known) { return known.name == name; });
  int64_t sum = 0;
  bool is_known = false;
  for (size_t i = 0; i < kReplyPartCount; ++i) {
    const std::string_view field = reply_part_names()[i].field;
    const bool is_wanted = three != kThreeParts.end() ? three->has(static_cast<ReplyPart>(i))
                                                      : without_ns(field) == name;
    if (!is_wanted) continue;
    is_known = true;
    const auto value = reply == nullptr ? std::nullopt : find_in_object(*reply, field);
    if (!value) {
      return make_error(ErrorCode::kUsage,
                        "the first argument of part() is the column reply of replies");
    }
    sum = saturating_add(sum, *value);
  }
  if (is_known) return SqlValue(sum);
  std::vector<std::string_view> names;
  names.reserve(std::size(kThreeParts) + kReplyPartCount);
  for (const PartName& known : kThreeParts) names.push_back(known.name);
  for (const ReplyPartNames& known : reply_part_names()) names.push_back(without_ns(known.field));
  return make_error(ErrorCode::kUsage,
                    fmt::format("a reply has no part \"{}\"{}", name, did_you_mean(name, names)));
}

}  // namespace

Status add_histogram_functions(ForeignSql& sql) {
  TOPSPIN_TRY(sql.add_function("percentile", 2, percentile));
  for (const Measure& measure : kMeasures) {
    TOPSPIN_TRY(sql.add_function(
        measure.name, 1, [&measure](std::span<const SqlValue> arguments) -> Result<SqlValue> {
          TOPSPIN_ASSIGN(const auto histogram, histogram_of(measure.name, arguments[0]));
          return histogram ? measure.take(*histogram) : SqlValue();
        }));
  }
  TOPSPIN_TRY(sql.add_aggregate("merge", [] { return std::make_unique<MergedHistograms>(); }));
  TOPSPIN_TRY(sql.add_function("checked_histogram", 3, checked_histogram));
  TOPSPIN_TRY(sql.add_function("scaled_count", 3, scaled_count));
  return sql.add_function("part", 2, part);
}

}  // namespace topspin
