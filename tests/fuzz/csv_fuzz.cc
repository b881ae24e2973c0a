// Fuzz target: a CSV file of samples.
#include <cmath>

#include "core/base/check.h"
#include "core/number/csv.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const auto table = parse_csv(fuzz_text(data, size), "x.csv");
  if (!table.ok()) {
    CHECK(!table.error().message.empty());
    return 0;
  }
  CHECK(table->rows.size() == table->lines.size());
  for (const auto& row : table->rows) CHECK(row.size() == table->columns.size());
  for (size_t column = 0; column < table->columns.size(); ++column) {
    CHECK(find_column(*table, table->columns[column]).ok());
    const auto numbers = column_numbers(*table, column);
    if (!numbers.ok()) continue;
    for (const double number : *numbers) CHECK(std::isfinite(number));
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"ns\n1\n2.5\n-3e4\n",
          "\xef\xbb\xbf"
          "a,b\r\n\"x\"\"y\",1\r\n\"two\nlines\",+2.5e3\r\n",
          "time,ops,name\n1,2,\"\"\n\n"};
}
