// Rewind: moves a model back along recorded ticks, or far ahead, without starting at the beginning.
//
// A model can only add ticks. Therefore snapshots of it, called pictures, are kept. Any earlier
// moment is reached from the last picture before it. Pictures do not contain the history, whose
// points are read again if they are not in memory. Memory is bounded: there are at most
// kMostPictures, and their distance, stride(), doubles each time that this number is reached. Lives
// on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "tui/model/model.h"

namespace topspin {

/// Reads ticks after number `after` (0: from the start), in order and with their rows: at least
/// one, if there is one, and at most `most`.
using ReadTicks = std::function<Result<std::vector<Sample>>(uint64_t after, size_t most)>;

class Rewind {
 public:
  static constexpr size_t kMostPictures = 128;      // of up to 0.4 MB each
  static constexpr size_t kMostFinePictures = 16;   // after the last of these
  static constexpr size_t kMostFlowRows = 150'000;  // in all pictures together
  static constexpr size_t kFirstStride = 64;        // in ticks; as many as are read at once
  static constexpr size_t kHistory = ModelLimits().max_ticks;

  /// Every model gets `scene`.
  Rewind(ReadTicks read, Scene scene);

  /// The tick after number `tick`, valid until the next call; nullptr if there is none.
  Result<const Sample*> after(uint64_t tick);

  /// Call this for each tick that is added to the model while it moves forward. `position` is the
  /// number of ticks that it now has.
  void keep(size_t position, const Model& model);

  /// The model of the first `position` ticks, as if it had just added the last of them. Reads at
  /// most stride() ticks, and the part of the history that is not in memory: at most another stride
  /// for a step back, and up to kHistory for a jump. kInput if the run no longer has that many
  /// ticks.
  Result<Model> model_at(size_t position);

  /// A moment from which ticks can be read.
  struct Mark {
    size_t position = 0;
    uint64_t tick = 0;  // the number of the last tick before it
  };
  /// The mark of the last picture at or before `position`, where model_at() begins.
  Mark mark_before(size_t position) const;
  /// The mark of the last picture that ends before this time of the run.
  Mark mark_before_time(int64_t elapsed_ns) const;

  size_t stride() const { return stride_; }
  size_t pictures() const { return pictures_.size() + fine_pictures_.size(); }
  size_t points() const { return points_.size(); }

 private:
  struct Picture {
    Model model;  // without history
    int64_t elapsed_ns = 0;
  };
  using Pictures = std::map<size_t, Picture>;  // by position
  /// A model that is being moved forward.
  struct Walker {
    size_t position = 0;
    Model model;
  };

  Walker last_picture(size_t position) const;
  Status walk(Walker& walker, size_t position, bool keep_fine);
  Status find_points(size_t first, size_t last);
  void forget_points(size_t position);
  size_t fine_stride() const;

  ReadTicks read_;
  Scene scene_;
  std::vector<Sample> batch_;  // the ticks that were read last
  uint64_t batch_after_ = 0;   // the number before the first of them
  size_t stride_ = kFirstStride;
  Pictures pictures_;                                  // at multiples of stride_
  Pictures fine_pictures_;                             // on the last path from one of pictures_
  std::map<size_t, TickHistory::SharedPoint> points_;  // by position, around the last one
};

}  // namespace topspin
