// The corpus of real captures: where it is, and the rows of its reference.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace topspin::test {

inline std::filesystem::path corpus_dir() {
  const char* named = std::getenv("TOPSPIN_CORPUS");
  return named != nullptr ? std::filesystem::path(named)
                          : std::filesystem::path(TOPSPIN_SHARED_DIR) / "corpus";
}

struct CorpusRow {
  std::string file, tier;
  std::map<std::string, std::string> fields;

  std::filesystem::path path() const { return corpus_dir() / "captures" / file; }
  uint64_t number(const std::string& column) const {
    const auto& text = fields.at(column);
    return text.empty() ? 0 : std::stoull(text);
  }
};

/// Empty if there is no corpus.
inline std::vector<CorpusRow> corpus_rows() {
  std::vector<CorpusRow> rows;
  std::ifstream in(corpus_dir() / "reference.tsv");
  const auto split = [](const std::string& line) {
    std::vector<std::string> cells;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, '\t');) cells.push_back(cell);
    return cells;
  };
  std::string line;
  if (!std::getline(in, line)) return rows;
  const auto names = split(line);
  while (std::getline(in, line)) {
    const auto cells = split(line);
    CorpusRow row;
    for (size_t i = 0; i < names.size(); ++i) {
      row.fields[names[i]] = i < cells.size() ? cells[i] : "";
    }
    row.file = row.fields["file"];
    row.tier = row.fields["tier"];
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace topspin::test

#define TOPSPIN_REQUIRE_CORPUS()                                                            \
  if (topspin::test::corpus_rows().empty()) {                                               \
    GTEST_SKIP() << "no corpus: reference.tsv not found in " << topspin::test::corpus_dir() \
                 << " (set TOPSPIN_CORPUS)";                                                \
  }
