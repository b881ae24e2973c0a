// The examples that start workers: the program takes their command lines, gets as far as looking
// for the store, and their files name what there is.
#include <algorithm>
#include <cstdlib>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/release/source_file.h"
#include "tests/support/process.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

/// The words between the brackets behind `key`, without quotes: `args: [worker, --label, zone=a]`.
Words listed(const std::string& text, const std::string& key) {
  std::smatch found;
  if (!std::regex_search(text, found, std::regex(key + "\\s*\\[([^\\]]*)\\]"))) return {};
  std::string list = found[1];
  std::replace(list.begin(), list.end(), ',', ' ');
  list.erase(std::remove(list.begin(), list.end(), '"'), list.end());
  std::istringstream stream(list);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

void expect_it_looks_for_the_store(const Words& arguments) {
  ASSERT_FALSE(arguments.empty());
  EXPECT_EQ(arguments.front(), "worker");
  const Outcome outcome = topspin(
      arguments, [] { setenv("TOPSPIN_STORE", "postgresql://worker@/x?host=/nonexistent", 1); });
  EXPECT_EQ(outcome.exit_code, 5) << testing::PrintToString(arguments) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("cannot open the store postgresql://worker@/x"));
}

TEST(WorkerExamples, KubernetesAndNomad) {
  const std::string kubernetes = contents("release/kubernetes/worker.yaml");
  expect_it_looks_for_the_store(listed(kubernetes, "args:"));
  const std::string nomad = contents("release/nomad/worker.nomad.hcl");
  Words arguments = listed(nomad, "args\\s*=");
  for (std::string& word : arguments)
    word = std::regex_replace(word, std::regex("\\$\\{[a-z.]*\\}"), "dc1");
  expect_it_looks_for_the_store(arguments);
  EXPECT_EQ(std::count(nomad.begin(), nomad.end(), '{'),
            std::count(nomad.begin(), nomad.end(), '}'));
  for (const std::string& text : {kubernetes, nomad}) {
    EXPECT_THAT(text, HasSubstr("TOPSPIN_STORE"));
    EXPECT_THAT(text, HasSubstr("PGPASSWORD"));
    EXPECT_EQ(text.find("://worker:"), std::string::npos) << "no password in an address";
  }
}

TEST(WorkerExamples, Systemd) {
  const std::string unit = contents("release/systemd/topspin-worker.service");
  EXPECT_THAT(unit, HasSubstr("\nExecStart=topspin worker $ARGUMENTS\n"));
  std::smatch found;
  ASSERT_TRUE(std::regex_search(unit, found, std::regex("#   ARGUMENTS=(.*)\n")));
  std::istringstream stream(found[1]);
  Words words = {"worker"};
  for (std::string word; stream >> word;) words.push_back(word);
  expect_it_looks_for_the_store(words);
  EXPECT_THAT(unit, HasSubstr("\nSuccessExitStatus=143\n")) << "worker_test: what SIGTERM gives";
}

}  // namespace
}  // namespace topspin::test
