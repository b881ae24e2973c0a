// IncidentPackets: writes the packets of an incident into a file beside the database.
//
// The file is written under a temporary name, which is the same for all of a database's incidents:
// what a killed process left there is replaced by the next one. It gets its own name
// (store/sqlite/packet_files.h) when it is complete and on the disk, so a file of that name is a
// whole one. It is readable for its owner alone. On the thread that stores incidents.
#pragma once

#include <cstdint>
#include <string>

#include "app/watch/incident.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// The directory of a database, kept open. Files are created, renamed and removed within it alone.
class PacketDirectory {
 public:
  /// Removes what an earlier process has not completed. REQUIRES: this process has the watch's lock
  /// on the database.
  static Result<PacketDirectory> open(const std::string& database);

  int fd() const { return fd_.get(); }
  const std::string& database_name() const { return name_; }
  std::string temporary_name() const { return name_ + "-packets.tmp"; }

 private:
  PacketDirectory(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  UniqueFd fd_;
  std::string name_;
};

class IncidentPackets {
 public:
  /// Writes the temporary file. An incident without a packet gets no file.
  /// REQUIRES: incident.packets has a value; `directory` outlives this.
  static Result<IncidentPackets> write(const Incident& incident, const std::string& run_id,
                                       const PacketDirectory& directory);
  ~IncidentPackets();
  IncidentPackets(IncidentPackets&& other) noexcept;
  IncidentPackets(const IncidentPackets&) = delete;
  IncidentPackets& operator=(const IncidentPackets&) = delete;

  /// The name within the directory; empty: there is no file.
  const std::string& name() const { return name_; }
  uint64_t packets() const { return packets_; }
  /// How many are in the file, where it is, and how many are not in it.
  const std::string& sentence() const { return sentence_; }

  /// Gives the file its name.
  Status put_in_place();

 private:
  explicit IncidentPackets(const PacketDirectory& directory) : directory_(&directory) {}

  const PacketDirectory* directory_;
  std::string name_;
  std::string sentence_;
  uint64_t packets_ = 0;
  bool is_temporary_ = false;
};

}  // namespace topspin
