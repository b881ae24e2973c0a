#include "capture/ends/clock_bounds.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace topspin {
namespace {

/// Wide enough for a stamp in nanoseconds times a slope.
using Real = long double;
static_assert(__LDBL_MANT_DIG__ >= 64);

struct HullPoint {
  int64_t x = 0;
  int64_t y = 0;
};

/// The lower convex hull of points that come in the order of x.
class LowerHull {
 public:
  void add(HullPoint p) {
    if (!points_.empty() && points_.back().x == p.x) {
      if (p.y >= points_.back().y) return;
      points_.pop_back();
    }
    while (points_.size() >= 2 && !turns_left(points_[points_.size() - 2], points_.back(), p))
      points_.pop_back();
    points_.push_back(p);
  }
  bool empty() const { return points_.empty(); }

  /// The least y - slope * (x - x0) of all points. O(log n).
  Real lowest(Real slope, int64_t x0) const {
    CHECK(!points_.empty());
    size_t low = 0, high = points_.size() - 1;  // the point lies before the first steeper edge
    while (low < high) {
      const size_t middle = (low + high) / 2;
      const HullPoint& a = points_[middle];
      const HullPoint& b = points_[middle + 1];
      if (Real(b.y) - Real(a.y) >= slope * (Real(b.x) - Real(a.x)))
        high = middle;
      else
        low = middle + 1;
    }
    return Real(points_[low].y) - slope * (Real(points_[low].x) - Real(x0));
  }

 private:
  static bool turns_left(const HullPoint& a, const HullPoint& b, const HullPoint& c) {
    __extension__ using Wide = __int128;
    const Wide abx = Wide{b.x} - a.x, aby = Wide{b.y} - a.y;
    const Wide acx = Wide{c.x} - a.x, acy = Wide{c.y} - a.y;
    return abx * acy - aby * acx > 0;
  }

  std::vector<HullPoint> points_;
};

/// Where a concave function is greatest, to within a tiny part of the range.
template <typename Function>
Real argument_of_maximum(Real from, Real to, Function value) {
  constexpr int kSteps = 120;
  for (int i = 0; i < kSteps && from < to; ++i) {
    const Real third = (to - from) / 3;
    const Real left = from + third, right = to - third;
    if (value(left) < value(right))
      from = left;
    else
      to = right;
  }
  return (from + to) / 2;
}

/// Rounding, in nanoseconds.
constexpr Real kSlack = 1e-3L;

}  // namespace

/// The lines between the points: y = level + slope * (x - x0).
struct ClockBounds::Fit {
  int64_t x0 = 0;          // of the first point
  int64_t last_x = 0;      // of the last one
  LowerHull out;           // above the lines
  LowerHull back_negated;  // (x, -y), since the back points are below the lines
  uint64_t out_points = 0;
  uint64_t back_points = 0;
  Real slope_min = 0;
  Real slope_max = 0;

  bool is_two_way() const { return !out.empty() && !back_negated.empty(); }
  Real highest_level(Real slope) const { return out.lowest(slope, x0); }
  Real lowest_level(Real slope) const { return -back_negated.lowest(-slope, x0); }
  Real room(Real slope) const { return highest_level(slope) - lowest_level(slope); }

  /// nullopt: no line lies between the points [begin, end).
  static std::optional<Fit> find(const std::vector<ClockPoint>& points, size_t begin, size_t end,
                                 int64_t client_step_ns, int64_t server_step_ns) {
    Fit fit;
    fit.x0 = points[begin].client_ns;
    fit.last_x = points[end - 1].client_ns;
    for (size_t i = begin; i < end; ++i) {
      const ClockPoint& p = points[i];
      if (p.is_out) {
        fit.out.add({p.client_ns, p.difference_ns + server_step_ns});
        ++fit.out_points;
      } else {
        fit.back_negated.add({p.client_ns, -(p.difference_ns - client_step_ns)});
        ++fit.back_points;
      }
    }
    if (!fit.is_two_way()) return fit;
    const auto room = [&](Real slope) { return fit.room(slope); };
    const Real best = argument_of_maximum(-kDriftMax, kDriftMax, room);
    if (room(best) < -kSlack) return std::nullopt;
    fit.slope_min = fit.last_with_room(best, -kDriftMax);
    fit.slope_max = fit.last_with_room(best, kDriftMax);
    return fit;
  }

  /// The slope farthest from `inside`, towards `limit`, that leaves room for a line.
  Real last_with_room(Real inside, Real limit) const {
    if (room(limit) >= 0) return limit;
    for (int i = 0; i < 100; ++i) {
      const Real middle = (inside + limit) / 2;
      (room(middle) >= -kSlack ? inside : limit) = middle;
    }
    return inside;
  }

  Real upper_bound_at(int64_t x) const {
    const auto value = [&](Real slope) {
      return highest_level(slope) + slope * (Real(x) - Real(x0));
    };
    return value(argument_of_maximum(slope_min, slope_max, value));
  }
  Real lower_bound_at(int64_t x) const {
    const auto negated = [&](Real slope) {
      return -(lowest_level(slope) + slope * (Real(x) - Real(x0)));
    };
    return -negated(argument_of_maximum(slope_min, slope_max, negated));
  }
};

/// Adds the piece that fits the points [from, to). `contradicts_out`: the next point that does not
/// fit is of a packet out.
void ClockBounds::add_piece(const Fit& fit, const std::vector<ClockPoint>& points, size_t from,
                            size_t to, bool contradicts_out, int64_t begin_ns, int64_t end_ns) {
  ClockPiece piece;
  piece.begin_ns = from == 0 ? std::min(begin_ns, points[from].client_ns) : points[from].client_ns;
  piece.end_ns =
      to == points.size() ? std::max(end_ns, points[to - 1].client_ns) : points[to - 1].client_ns;
  piece.middle_ns = fit.x0 + (fit.last_x - fit.x0) / 2;
  piece.packets = {fit.out_points, fit.back_points};
  // Of the possible slopes the one in the middle, and of its lines the one in the middle: a
  // possible line itself, so by it no packet takes less than no time.
  const Real slope = (fit.slope_min + fit.slope_max) / 2;
  const Real level = (fit.highest_level(slope) + fit.lowest_level(slope)) / 2;
  piece.offset_ns =
      static_cast<int64_t>(std::llround(level + slope * (Real(piece.middle_ns) - Real(fit.x0))));
  piece.drift = static_cast<double>(slope);
  piece.drift_error = static_cast<double>((fit.slope_max - fit.slope_min) / 2);
  pieces_.push_back(piece);
  knots_.emplace_back();
  draw_knots(fit);

  // The other clock was read up to a packet's way earlier or later than the client's. If a clock
  // was set meanwhile, the packet is before it by one clock and after it by the other.
  if (from == 0 && to == points.size()) return;
  const size_t number = pieces_.size() - 1;
  // Only the direction that contradicted shows how long a way can be: packets of the other one
  // that are on the wrong side of the change fit, and seem to have been long on their way.
  const auto longest_ns = [&](bool is_out) {
    int64_t longest = 0;
    for (size_t i = from; i < to; ++i) {
      if (points[i].is_out != is_out) continue;
      const int64_t way_ns = points[i].difference_ns - line_at(number, points[i].client_ns);
      longest = std::max(longest, std::abs(way_ns) + error_at(number, points[i].client_ns));
    }
    return longest;
  };
  const int64_t begin_cut_ns = from > 0 ? longest_ns(!points[from].is_out) : 0;
  const int64_t end_cut_ns = to < points.size() ? longest_ns(contradicts_out) : 0;
  ClockPiece& cut = pieces_[number];
  cut.begin_ns += begin_cut_ns;
  cut.end_ns -= end_cut_ns;
  if (cut.begin_ns >= cut.end_ns) {
    pieces_.pop_back();
    knots_.pop_back();
    return;
  }
  draw_knots(fit);
}

/// Sets the error of the last piece.
void ClockBounds::draw_knots(const Fit& fit) {
  const size_t number = pieces_.size() - 1;
  ClockPiece& piece = pieces_[number];
  Knots knots;
  for (size_t k = 0; k < kKnots; ++k) {
    const auto part = static_cast<int64_t>(static_cast<Real>(piece.end_ns - piece.begin_ns) *
                                           static_cast<Real>(k) / (kKnots - 1));
    const int64_t x = piece.begin_ns + part;
    const auto line = static_cast<Real>(line_at(number, x));
    // Two nanoseconds for what is rounded, here and by line_at().
    knots.above.push_back(static_cast<double>(std::max<Real>(fit.upper_bound_at(x) - line, 0)) + 2);
    knots.below.push_back(static_cast<double>(std::max<Real>(line - fit.lower_bound_at(x), 0)) + 2);
  }
  knots_[number] = std::move(knots);
  piece.offset_error_ns = error_at(number, piece.middle_ns);
  piece.error_max_ns = std::max(error_at(number, piece.begin_ns), error_at(number, piece.end_ns));
}

Result<ClockBounds> ClockBounds::find(const std::vector<ClockPoint>& points, int64_t client_step_ns,
                                      int64_t server_step_ns, int64_t begin_ns, int64_t end_ns) {
  const auto fit = [&](size_t from, size_t to) {
    return Fit::find(points, from, to, client_step_ns, server_step_ns);
  };
  std::array<uint64_t, 2> of_direction{};
  for (const ClockPoint& p : points) ++of_direction[p.is_out ? 0 : 1];
  if (of_direction[0] == 0 || of_direction[1] == 0) {
    return make_error(
        ErrorCode::kInput,
        points.empty() ? "no packet can be told from all others in both files"
                       : "packets of only one direction can be told from all others in both files, "
                         "and the offset is bounded by both");
  }
  ClockBounds bounds;
  size_t attempts = 0;
  for (size_t from = 0; from < points.size();) {
    if (++attempts > kPiecesMax) {
      return make_error(ErrorCode::kInput,
                        "the times of the two files contradict each other everywhere: their clocks "
                        "drift apart by more than 1,000 ppm, or are set again and again");
    }
    // `to`: how many points fit, from `from` on. One point always does.
    size_t to = points.size();
    if (from > 0 || !fit(from, to)) {
      size_t length = 1, good = 1;
      for (; from + length < points.size() && fit(from, from + length); length *= 2) good = length;
      size_t bad = std::min(length, points.size() - from);
      if (from + bad == points.size() && fit(from, from + bad)) good = bad;
      while (good + 1 < bad) {
        const size_t middle = good + (bad - good) / 2;
        (fit(from, from + middle) ? good : bad) = middle;
      }
      to = from + good;
    }
    // If point `to` contradicts, the clock changed after the last point of its direction. On which
    // side of the change the points between them lie is not known.
    size_t certain = to;
    if (to < points.size()) {
      while (certain > from && points[certain - 1].is_out != points[to].is_out) --certain;
    }
    if (certain > from) {
      const auto found = fit(from, certain);
      if (found && found->is_two_way())
        bounds.add_piece(*found, points, from, certain, to < points.size() && points[to].is_out,
                         begin_ns, end_ns);
    }
    from = to;
  }
  if (bounds.pieces_.empty()) {
    return make_error(ErrorCode::kInput,
                      "the times of the two files contradict each other: no two packets of "
                      "different directions agree on an offset");
  }
  return bounds;
}

int64_t ClockBounds::line_at(size_t piece, int64_t client_ns) const {
  const ClockPiece& p = pieces_[piece];
  return p.offset_ns +
         static_cast<int64_t>(std::llround(Real(p.drift) * (Real(client_ns) - Real(p.middle_ns))));
}

int64_t ClockBounds::error_at(size_t piece, int64_t client_ns) const {
  const ClockPiece& p = pieces_[piece];
  const Knots& knots = knots_[piece];
  if (p.end_ns <= p.begin_ns)
    return static_cast<int64_t>(std::ceil(std::max(knots.above[0], knots.below[0])));
  const double place = std::clamp(static_cast<double>(client_ns - p.begin_ns) /
                                      static_cast<double>(p.end_ns - p.begin_ns),
                                  0.0, 1.0) *
                       (kKnots - 1);
  const size_t left = std::min(static_cast<size_t>(place), kKnots - 2);
  const double share = place - static_cast<double>(left);
  const auto between = [&](const std::vector<double>& of) {
    return of[left] + (of[left + 1] - of[left]) * share;
  };
  return static_cast<int64_t>(std::ceil(std::max(between(knots.above), between(knots.below))));
}

std::optional<size_t> ClockBounds::piece_at(int64_t client_ns) const {
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), client_ns,
                       [](int64_t time, const ClockPiece& piece) { return time < piece.begin_ns; });
  if (after == pieces_.begin() || client_ns > (after - 1)->end_ns) return std::nullopt;
  return static_cast<size_t>(after - pieces_.begin()) - 1;
}

std::optional<ClockBounds::Offset> ClockBounds::at(int64_t client_ns) const {
  const auto piece = piece_at(client_ns);
  if (!piece) return std::nullopt;
  return Offset{line_at(*piece, client_ns), error_at(*piece, client_ns)};
}

ClockBounds::ClientTime ClockBounds::client_time(int64_t server_ns, size_t piece) const {
  // The line is nearly level, so each round leaves a thousandth of the error at most.
  int64_t client_ns = server_ns - pieces_[piece].offset_ns;
  for (int i = 0; i < 4; ++i) client_ns = server_ns - line_at(piece, client_ns);
  return {client_ns, error_at(piece, client_ns)};
}

std::optional<ClockBounds::ClientTime> ClockBounds::client_time(int64_t server_ns) const {
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    const ClientTime time = client_time(server_ns, piece);
    if (time.ns >= pieces_[piece].begin_ns && time.ns <= pieces_[piece].end_ns) return time;
  }
  return std::nullopt;
}

}  // namespace topspin
