// Distribution: one kind of latency on two sides, laid over each other.
//
// The bars are octaves of the value, all samples of a side together are 1; early (negative) values
// are one bar. Histograms of several runs are added up: this shows shapes and decides nothing.
// Pure; plain values.
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
