// What `topspin doctor` found, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "core/run/run.h"

namespace topspin {

struct DoctorFinding {
  std::string feature;  // "capture", "scheduler", ...
  std::string rung;     // interface, or rung of the probe's ladder
  bool works = false;
  std::string reason;  // why not
  std::string remedy;  // the command or setting that mends it; empty: nothing does
};

struct DoctorReport {
  HostInfo host;
  std::string versions;  // a line each
  std::vector<DoctorFinding> findings;
};

}  // namespace topspin
