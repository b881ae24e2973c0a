// The schema of a new file. Private to store.
#pragma once

#include <span>
#include <string>

namespace topspin {

/// SQL that creates the tables as `steps` leave them, one after another, in an empty file, and
/// gives tables tick and total a column for each plain number. It creates each table once, with all
/// its columns: for each ALTER TABLE, SQLite would parse the whole schema anew (175 times, 170 ms).
/// A step has one ALTER TABLE to a line, and each constraint of a table on a line of its own.
std::string schema_of_new_file(std::span<const char* const> steps);

}  // namespace topspin
