// What `topspin run` prints at its end: the numbers of all subjects side by side, the rules, and
// what could not be judged. Pure.
#pragma once

#include <string>

#include "app/plan/plan_session.h"
#include "report/document/document.h"

namespace topspin {

inline constexpr int kRunSchemaVersion = 1;

/// The output for people.
document::Document session_document(const Plan& plan, const SessionOptions& options,
                                    const SessionResult& result);

/// One JSON object, ASCII, with a newline. docs/plans.md names the fields.
std::string session_json(const Plan& plan, const SessionOptions& options,
                         const SessionResult& result);

/// 128 + n after signal n. 1 if a judged run broke a rule. 3 if a subject has no run that may be
/// judged, if a rule could not be judged (unless the plan is lenient), or, with `strict`, if any
/// run was not judged. Otherwise 0.
int session_exit_code(const Plan& plan, const SessionResult& result, bool strict);

}  // namespace topspin
