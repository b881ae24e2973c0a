// The files of packets that a flight recorder keeps beside a database, one for each incident that
// has one. Their names are made from the database's and the run's id alone, so that no text from a
// database names a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace topspin {

inline constexpr std::string_view kPacketFileEnding = ".pcapng";

/// "DATABASE-ID.pcapng". nullopt if `run_id` is no UUID as run ids are written.
std::optional<std::string> packet_file_of(std::string_view database, std::string_view run_id);

/// The run's id in such a name; nullopt if `path` is none of the database's.
std::optional<std::string_view> run_of_packet_file(std::string_view database,
                                                   std::string_view path);

/// The length of the run's file, as far as it has one; else 0.
uint64_t packet_file_bytes(std::string_view database, std::string_view run_id);

/// Removes it. Returns how long it was; 0 if there was none, nullopt if it could not be removed.
/// `database` is as SQLite has it: absolute and without links.
std::optional<uint64_t> remove_packet_file(std::string_view database, std::string_view run_id);

}  // namespace topspin
