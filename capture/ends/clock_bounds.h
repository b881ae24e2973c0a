// ClockBounds: how far apart two hosts' clocks are at each moment, bounded by packets that passed
// between them.
//
// Let off(x) be the server's clock minus the client's, at the client's time x. A packet takes at
// least no time. So for one that left the client at c and reached the server at s (its clock),
// s - c >= off(c); for one that left the server at s and reached the client at c, s - c <= off(c).
// If off is a straight line, it runs below all points (c, s - c) of packets out and above all
// points of packets back. All lines that do are possible and no others are, so the bounds are those
// of the set of these lines, found on the two convex hulls. This needs no assumption about delays,
// symmetric ones least of all. Sources: F. Cristian, "Probabilistic clock synchronization", 1989
// (half the round trip as the error); A. Duda, G. Harrus, Y. Haddad, G. Bernard, "Estimating global
// time in distributed systems", ICDCS 1987 (the line between two hulls); S. Moon, P. Skelly,
// D. Towsley, "Estimation and removal of clock skew from network delay measurements", INFOCOM 1999
// (the line that lies below all points, as a linear program).
//
// If no line fits, because a clock was set or its drift changed, the time is divided: each piece is
// as long as one line fits, from left to right. Between two pieces, and as long before and after as
// a packet was on its way at most, the offset is not known. A clock that was set by less than the
// shortest way there and back together may go unnoticed, or be noticed late. Two clocks are assumed
// to drift apart by at most kDriftMax.
//
// Pure. Memory: the points, and hulls of at most as many.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/result.h"
#include "core/flow/two_ends.h"

namespace topspin {

/// A packet that is in both files.
struct ClockPoint {
  int64_t client_ns = 0;      // the client's clock, at the client's host
  int64_t difference_ns = 0;  // the server's clock, at the server's host, minus client_ns
  bool is_out = false;        // client to server
};

class ClockBounds {
 public:
  /// Linux slews a clock by at most 500 ppm, and quartz is off by at most some 100 ppm.
  static constexpr double kDriftMax = 1000e-6;
  /// Clocks that do not fit this many lines are no clocks.
  static constexpr size_t kPiecesMax = 1000;

  /// `points` in order of client_ns. The stamps were rounded down to multiples of
  /// `client_step_ns` and `server_step_ns`. The first piece also covers what is before its points
  /// from `begin_ns` on, the last what is after them until `end_ns`. kInput, with the reason: there
  /// are no points of both directions, or the points fit no line anywhere.
  static Result<ClockBounds> find(const std::vector<ClockPoint>& points, int64_t client_step_ns,
                                  int64_t server_step_ns, int64_t begin_ns, int64_t end_ns);

  struct Offset {
    int64_t ns = 0;
    int64_t error_ns = 0;  // the true offset is within ns +- error_ns
  };
  /// At a time of the client's clock. nullopt: it is in no piece.
  std::optional<Offset> at(int64_t client_ns) const;

  /// The time of the client's clock when the server's clock showed this, with the error.
  struct ClientTime {
    int64_t ns = 0;
    int64_t error_ns = 0;
  };
  /// By the line of this piece. REQUIRES: there is such a piece.
  ClientTime client_time(int64_t server_ns, size_t piece) const;
  /// By the first piece that has the result; nullopt: none has. O(pieces).
  std::optional<ClientTime> client_time(int64_t server_ns) const;

  /// The piece that has this time of the client's clock.
  std::optional<size_t> piece_at(int64_t client_ns) const;

  const std::vector<ClockPiece>& pieces() const { return pieces_; }

 private:
  /// The bounds at equal distances, from begin to end. The upper bound is convex and the lower
  /// concave in time, so straight lines between these are never too narrow.
  static constexpr size_t kKnots = 65;
  struct Knots {
    std::vector<double> above;  // the upper bound minus the piece's line
    std::vector<double> below;
  };
  struct Fit;

  int64_t line_at(size_t piece, int64_t client_ns) const;
  int64_t error_at(size_t piece, int64_t client_ns) const;
  void add_piece(const Fit& fit, const std::vector<ClockPoint>& points, size_t from, size_t to,
                 bool contradicts_out, int64_t begin_ns, int64_t end_ns);
  void draw_knots(const Fit& fit);

  std::vector<ClockPiece> pieces_;
  std::vector<Knots> knots_;
};

}  // namespace topspin
