// Reads YAML with Python, for tests of files that other programs read.
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"

namespace topspin::test {

/// A Python that knows YAML; empty if there is none.
inline std::string python_with_yaml() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (run({python, "-c", "import yaml"}).exit_code == 0) return python;
  }
  return {};
}

/// The file's only document.
inline nlohmann::json read_yaml(const std::string& python, const std::string& path) {
  const Outcome read =
      run({python, "-c",
           "import json,sys,yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", path});
  EXPECT_EQ(read.exit_code, 0) << read.err;
  return nlohmann::json::parse(read.out, nullptr, false);
}

}  // namespace topspin::test
