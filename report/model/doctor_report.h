// What `topspin doctor` found, for people and for programs.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "core/run/run.h"

namespace topspin {

struct DoctorFinding {
  std::string feature;  // "capture", "scheduler", ...
  std::string rung;     // interface, or rung of the probe's ladder
  bool works = false;
  std::string reason;  // why it does not work
  std::string remedy;  // the command or setting that fixes it; empty: nothing does
};

struct DoctorReport {
  HostInfo host;
  std::string versions;  // a line each
  std::vector<DoctorFinding> findings;
};

/// A known fault that was inflicted on a subject of our own, and what topspin measured and
/// reported.
struct FaultProof {
  std::string fault;      // "event_loop"
  std::string inflicted;  // what was done
  std::string skipped;    // why it cannot be done here; empty: it was done
  std::string number;     // the compared number: "max of busy_stretch_ns"; ends with its unit
  double expected = 0;    // by the account of the subject that inflicted it
  std::optional<double> measured;  // by topspin
  double tolerance = 0;            // share of `expected` by which the two may differ
  std::string expected_finding;    // its key
  std::string finding;             // the key of the run's first finding
  std::string sentence;            // the sentence of that finding

  bool number_is_right() const {
    return measured && std::abs(*measured - expected) <= tolerance * expected;
  }
  bool finding_is_right() const { return finding == expected_finding; }
  bool is_right() const { return !skipped.empty() || (number_is_right() && finding_is_right()); }
};

/// What `topspin doctor --prove` found: whether the numbers and findings are right on this host.
struct ProofReport {
  HostInfo host;
  std::string versions;  // a line each
  std::vector<FaultProof> proofs;

  bool is_right() const {
    return std::all_of(proofs.begin(), proofs.end(),
                       [](const FaultProof& proof) { return proof.is_right(); });
  }
};

}  // namespace topspin
