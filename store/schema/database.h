// Opens a file as a run store, and creates or migrates it for writing. Refuses files that are not a
// database, not ours, or of a newer schema, without changing them. Private to store.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// kMigrations[n] turns schema n into schema n + 1. Forward only: an older topspin refuses the
/// file.
std::span<const char* const> migrations();

/// Runs the steps from the file's user_version to the end of `steps` in one transaction. The first
/// step also marks an empty file as ours (application_id). An empty file that gets all steps gets
/// the tables that they end with at once (new_schema.h).
Status migrate(Connection& connection, std::span<const char* const> steps);

/// Marks run ?1 as interrupted, with the counts of what was stored.
inline constexpr std::string_view kMarkInterruptedSql =
    "UPDATE run SET status = 'interrupted',"
    " duration_ns = (SELECT coalesce(max(elapsed_ns), 0) FROM tick WHERE tick.run = ?1),"
    " ticks = (SELECT count(*) FROM tick WHERE tick.run = ?1)"
    " WHERE run = ?1";

/// A run that a merge is still copying, or was copying when it was killed; writer_* identify the
/// merge. Readers do not return it.
inline constexpr std::string_view kMergingStatus = "merging";
inline constexpr std::string_view kIsWholeSql = "status <> 'merging'";

class RunStore;
/// Reads runs over a connection that the caller owns, within the caller's transaction.
std::unique_ptr<RunStore> read_runs_of(Connection& connection);

struct FileOwner {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

/// Opens or creates `path`, migrates it to the newest schema and puts it into WAL mode. A new file
/// belongs to `owner`; an existing one keeps its owner. A symbolic link as the last part of the
/// path is refused, and so is another user's file in a sticky directory that everybody may write
/// to: otherwise a privileged topspin would follow a link that somebody else planted.
Result<std::unique_ptr<Connection>> open_for_writing(const std::string& path,
                                                     const FileOwner& owner);

/// Like open_for_writing(), but the database must exist.
Result<std::unique_ptr<Connection>> open_existing_for_writing(const std::string& path);

/// A file of an older schema is read as one of the newest (older_schema.h), and is not changed.
Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path);

/// The same for the bytes of a file. `name` is for messages.
Result<std::unique_ptr<Connection>> open_bytes_for_reading(std::string_view bytes,
                                                           const std::string& name);
/// An empty database of the newest schema, in memory.
Result<std::unique_ptr<Connection>> new_database_in_memory(const std::string& name);

/// Moves the write-ahead log into the file and leaves WAL mode, so that a single file is left. This
/// is impossible while another program has the file open; it then stays in WAL mode, and nothing is
/// lost. Returns whether a single file is left.
bool leave_wal_mode(Connection& connection);

}  // namespace topspin
