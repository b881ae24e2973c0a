// Merges a struct of numbers with that of the following interval, each number by its kind. For
// structs that have a for_each_number() (core/number/number.h) and no optional parts of their own.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <optional>

#include "core/number/number.h"
#include "core/number/saturating.h"

namespace topspin {

template <std::integral T>
void merge_number(NumberKind kind, T& into, const T& later) {
  switch (kind) {
    case NumberKind::kCount:
      if constexpr (!std::same_as<T, bool>) into = saturating_add(into, later);
      break;
    case NumberKind::kGauge:
    case NumberKind::kTotal: into = later; break;
    case NumberKind::kMaximum:
    case NumberKind::kState: into = std::max(into, later); break;
    case NumberKind::kDistribution: break;
  }
}

/// Histograms, and other types that merge themselves.
template <typename T>
requires requires(T into, const T later) { into.merge(later); }
void merge_number(NumberKind, T& into, const T& later) { into.merge(later); }

/// A value that was not measured in the later interval changes nothing.
template <typename T>
void merge_number(NumberKind kind, std::optional<T>& into, const std::optional<T>& later) {
  if (!later) return;
  if (into)
    merge_number(kind, *into, *later);
  else
    into = later;
}

template <typename Part>
void merge_numbers(Part& into, const Part& later) {
  Part::for_each_number([&](const Number& number, auto path) {
    merge_number(number.kind, std::invoke(path, into), std::invoke(path, later));
  });
}

}  // namespace topspin
