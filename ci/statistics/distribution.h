// Distribution: the distributions of one latency on two sides, for comparison by eye.
//
// Each bar is an octave of the value, and all negative (early) values are one bar. The bars of a
// side add up to 1. Histograms of several runs are merged, so this shows shapes but decides
// nothing. Pure; plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/number/histogram.h"

namespace topspin {

struct DistributionBar {
  int64_t from_ns = 0;  // inclusive
  int64_t to_ns = 0;    // inclusive
  double a = 0;         // share of the side's samples
  double b = 0;
};

struct Distribution {
  std::string name;
  HistogramSummary a;
  HistogramSummary b;
  std::vector<DistributionBar> bars;  // from the first to the last that either side reaches
};

/// REQUIRES: neither is empty.
Distribution overlay(std::string name, const Histogram& a, const Histogram& b);
Distribution overlay(std::string name, const SignedHistogram& a, const SignedHistogram& b);

}  // namespace topspin
