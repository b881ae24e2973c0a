// How the commit of a run is written. A tree with changes, or one for which git could not tell,
// gets a mark, because it is not the same as its commit.
#pragma once

#include <string>
#include <string_view>

#include "core/run/run.h"

namespace topspin {

/// "clean", "changed" or "unknown"; empty without a commit.
inline std::string_view commit_state_name(const SourceInfo& source) {
  if (source.commit.empty()) return "";
  if (!source.dirty) return "unknown";
  return *source.dirty ? "changed" : "clean";
}

/// The mark behind a commit: nothing, "+changes" or "+changes?".
inline std::string_view commit_mark(const SourceInfo& source) {
  if (source.commit.empty()) return "";
  if (!source.dirty) return "+changes?";
  return *source.dirty ? "+changes" : "";
}

/// The longer mark behind a commit, for places with enough room.
inline std::string_view commit_remark(const SourceInfo& source) {
  return commit_mark(source) == "+changes?" ? " (changes unknown)" : commit_mark(source);
}

/// The first digits of the commit, with its mark. Empty without one.
inline std::string short_commit(const SourceInfo& source, size_t digits = 12) {
  return source.commit.substr(0, digits) + std::string(commit_mark(source));
}

}  // namespace topspin
