// Reads numbers from a CSV file. The parser is strict: it refuses a wrong file, rather than
// guessing.
//
// The format (RFC 4180, narrowed): UTF-8 or ASCII text, a byte-order mark is skipped; lines end in
// LF or CRLF; cells are separated by commas; a cell may be quoted with ", and "" inside quotes is
// one quote; a quoted cell may hold line ends. The first line names the columns; each further line
// has as many cells. An empty line may end the file. Pure, over bytes; thread-agnostic.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct CsvTable {
  std::string name;                            // of the file, for messages
  std::vector<std::string> columns;            // unique
  std::vector<std::vector<std::string>> rows;  // each as long as columns
  std::vector<size_t> lines;                   // the line that each row begins on, from 1
};

/// kInput names the mistake, with its line and cell.
Result<CsvTable> parse_csv(std::string_view text, std::string name);

/// Reads and parses a file. kInput if it cannot be read, is a device, or is larger than 64 MiB.
Result<CsvTable> read_csv_file(const std::string& path);

/// The index of a column. kUsage if there is none with that name; the message lists those that
/// exist.
Result<size_t> find_column(const CsvTable& table, std::string_view column);

/// The numbers of a column, all finite. kInput names the first cell that is not a number, with line
/// and column.
Result<std::vector<double>> column_numbers(const CsvTable& table, size_t column);

/// The column of a file of samples if none was named: the only one. kUsage if the file has more.
Result<size_t> only_column(const CsvTable& table);

}  // namespace topspin
