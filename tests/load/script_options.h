// The options of a load whose clients run a script, for tests.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "load/load.h"

namespace topspin {

inline LoadOptions script_options(const std::string& target, std::string_view stages,
                                  std::string name, std::string text) {
  LoadOptions options;
  options.workload = WorkloadKind::kScript;
  options.target = target;
  const auto parsed = parse_stages(stages);
  EXPECT_TRUE(parsed.ok());
  options.stages = *parsed;
  options.script_name = std::move(name);
  options.script_text = std::move(text);
  return options;
}

}  // namespace topspin
