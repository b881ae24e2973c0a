// Opens a file as a run store: creates or migrates it for writing, and refuses what is no database,
// not ours or newer without changing it. Private to store.
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

/// In one transaction: the steps from the file's user_version to `steps`'s end. The first step also
/// makes an empty file ours (application_id).
Status migrate(Connection& connection, std::span<const char* const> steps);

/// Marks run ?1 as interrupted, with what was stored of it.
inline constexpr std::string_view kMarkInterruptedSql =
    "UPDATE run SET status = 'interrupted',"
    " duration_ns = (SELECT coalesce(max(elapsed_ns), 0) FROM tick WHERE tick.run = ?1),"
    " ticks = (SELECT count(*) FROM tick WHERE tick.run = ?1)"
    " WHERE run = ?1";

/// A merge is still copying such a run, or was killed: its writer_* say whose it is. No reader
/// gives it.
inline constexpr std::string_view kMergingStatus = "merging";
inline constexpr std::string_view kIsWholeSql = "status <> 'merging'";

class RunStore;
/// The runs of a connection that somebody else owns, within that one's transaction.
std::unique_ptr<RunStore> read_runs_of(Connection& connection);

struct FileOwner {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

/// Opens or creates `path`, brings it to the newest schema and into WAL mode. A file that is
/// created here is given to `owner`; one that was there keeps its owner. A symbolic link as the
/// last part of the path is refused, and so is another user's file in a sticky directory that
/// everybody may write: a privileged topspin would otherwise follow a link that someone else
/// planted.
Result<std::unique_ptr<Connection>> open_for_writing(const std::string& path,
                                                     const FileOwner& owner);

/// As open_for_writing(), of a database that is there already: none is created.
Result<std::unique_ptr<Connection>> open_existing_for_writing(const std::string& path);

/// A file of an older schema is read as one of the newest (older_schema.h), and stays as it is.
Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path);

/// Moves the write-ahead log into the file and leaves WAL mode, so that one file is left. While
/// someone else has the file open that is impossible: it then stays in WAL mode and nothing is
/// lost. True: one file is left.
bool leave_wal_mode(Connection& connection);

}  // namespace topspin
