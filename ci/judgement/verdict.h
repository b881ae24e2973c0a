// Verdict: the verdict of the gate, and its exit code.
#pragma once

#include <cstdint>
#include <string_view>

namespace topspin {

enum class Verdict : uint8_t {
  kPass,          // shown to be no worse than the margin allows
  kFail,          // worse by more than the margin
  kInconclusive,  // the evidence is not enough for either
  kInvalid,       // the runs must not be judged
};

constexpr std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass: return "pass";
    case Verdict::kFail: return "fail";
    case Verdict::kInconclusive: return "inconclusive";
    case Verdict::kInvalid: return "invalid";
  }
  return "invalid";
}

inline constexpr int kExitPass = 0;
inline constexpr int kExitFail = 1;
inline constexpr int kExitNotJudged = 3;
inline constexpr int kExitOtherHost = 4;

/// With `strict`, too little evidence has a separate exit code.
constexpr int exit_code(Verdict verdict, bool strict) {
  switch (verdict) {
    case Verdict::kPass: return kExitPass;
    case Verdict::kFail: return kExitFail;
    case Verdict::kInconclusive: return strict ? kExitNotJudged : kExitPass;
    case Verdict::kInvalid: return kExitNotJudged;
  }
  return kExitNotJudged;
}

}  // namespace topspin
