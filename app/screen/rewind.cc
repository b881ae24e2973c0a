#include "app/screen/rewind.h"

#include <algorithm>
#include <utility>

namespace topspin {
namespace {

/// The rest is enough for add() to continue from.
Model without_history(const Model& model) {
  Model copy = model;
  copy.set_history(TickHistory(Rewind::kHistory));
  copy.names = {};
  copy.packets = {};
  copy.interfaces = {};
  copy.processes = {};
  return copy;
}

template <typename Pictures>
size_t flow_rows(const Pictures& pictures) {
  size_t rows = 0;
  for (const auto& [position, picture] : pictures) rows += picture.model.flows().size();
  return rows;
}

}  // namespace

Rewind::Rewind(ReadTicks read, Scene scene) : read_(std::move(read)), scene_(std::move(scene)) {}

size_t Rewind::fine_stride() const { return stride_ / kMostFinePictures; }

Result<const Sample*> Rewind::after(uint64_t tick) {
  if (batch_.empty() || tick < batch_after_ || tick >= batch_.back().tick) {
    TOPSPIN_ASSIGN(batch_, read_(tick, kFirstStride));
    batch_after_ = tick;
  }
  const auto next =
      std::find_if(batch_.begin(), batch_.end(), [&](const Sample& s) { return s.tick > tick; });
  return next == batch_.end() ? nullptr : &*next;
}

void Rewind::keep(size_t position, const Model& model) {
  points_[position] = model.history().newest();
  forget_points(position);
  // The rows of that model were purged, so it is not what the ticks alone would give.
  if (model.version() != position) return;
  if (position % stride_ != 0 || pictures_.contains(position)) return;
  pictures_.emplace(position, Picture{without_history(model), model.history().back().elapsed_ns});
  while (pictures_.size() > 2 &&
         (pictures_.size() > kMostPictures || flow_rows(pictures_) > kMostFlowRows)) {
    stride_ *= 2;
    std::erase_if(pictures_, [&](const auto& picture) { return picture.first % stride_ != 0; });
  }
}

/// Keeps the points that a step may need next: a history before and after `position`, plus strides.
void Rewind::forget_points(size_t position) {
  const size_t before = kHistory + 2 * stride_;
  if (position > before) points_.erase(points_.begin(), points_.lower_bound(position - before));
  points_.erase(points_.upper_bound(position + stride_), points_.end());
}

Rewind::Mark Rewind::mark_before(size_t position) const {
  Mark mark;
  for (const Pictures* pictures : {&pictures_, &fine_pictures_}) {
    const auto after = pictures->upper_bound(position);
    if (after == pictures->begin()) continue;
    const auto& [at, picture] = *std::prev(after);
    if (at > mark.position) mark = {at, picture.model.tick()};
  }
  return mark;
}

Rewind::Mark Rewind::mark_before_time(int64_t elapsed_ns) const {
  Mark mark;
  for (const auto& [at, picture] : pictures_) {
    if (picture.elapsed_ns >= elapsed_ns) break;
    mark = {at, picture.model.tick()};
  }
  return mark;
}

Rewind::Walker Rewind::last_picture(size_t position) const {
  const size_t at = mark_before(position).position;
  Walker walker;
  walker.position = at;
  if (const auto coarse = pictures_.find(at); coarse != pictures_.end())
    walker.model = coarse->second.model;
  else if (const auto fine = fine_pictures_.find(at); fine != fine_pictures_.end())
    walker.model = fine->second.model;
  walker.model.scene = scene_;
  return walker;
}

Status Rewind::walk(Walker& walker, size_t position, bool keep_fine) {
  while (walker.position < position) {
    TOPSPIN_ASSIGN(const Sample* sample, after(walker.model.tick()));
    if (sample == nullptr)
      return make_error(ErrorCode::kInput,
                        "ticks that were read before are no longer in the database");
    walker.model.add(*sample);
    points_[++walker.position] = walker.model.history().newest();
    if (keep_fine && walker.position % fine_stride() == 0) {
      fine_pictures_.insert_or_assign(walker.position,
                                      Picture{without_history(walker.model), sample->elapsed_ns});
    }
  }
  return {};
}

/// Makes sure that the points `first` to `last` are in memory.
Status Rewind::find_points(size_t first, size_t last) {
  while (first <= last && points_.contains(first)) ++first;
  while (first <= last && points_.contains(last)) --last;
  if (first > last) return {};
  Walker walker = last_picture(first - 1);
  return walk(walker, last, false);
}

Result<Model> Rewind::model_at(size_t position) {
  const size_t first = position > kHistory ? position - kHistory + 1 : 1;
  Walker walker = last_picture(position);
  TOPSPIN_TRY(find_points(first, walker.position));
  // Far from the last picture, this is a different path, so its fine pictures start anew. Many rows
  // are copied often enough as it is.
  const bool leaves_fine = position - walker.position > fine_stride();
  if (leaves_fine) fine_pictures_.clear();
  const bool keep_fine =
      flow_rows(fine_pictures_) + walker.model.flows().size() <= kMostFlowRows / kMostFinePictures;
  TOPSPIN_TRY(walk(walker, position, keep_fine));
  TickHistory history(kHistory);
  for (auto point = points_.lower_bound(first); point != points_.end(); ++point) {
    if (point->first > position) break;
    history.add(point->second);
  }
  walker.model.set_history(std::move(history));
  forget_points(position);
  return std::move(walker.model);
}

}  // namespace topspin
