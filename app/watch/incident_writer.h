// IncidentWriter: stores incidents as runs, on a thread of its own, so that no tick waits for a
// disk.
//
// An incident's run is stored like any run that is being recorded: in transactions of several
// ticks, with the status `running` until its end is stored. A process that is killed meanwhile
// leaves that run interrupted, and every earlier one as it was. Then the limits of the database are
// kept.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "app/watch/incident.h"
#include "app/watch/packets/incident_packets.h"
#include "core/base/result.h"
#include "report/export/export.h"
#include "store/retention/retention.h"

namespace topspin {

/// What became of an incident, or of the database after it.
struct IncidentMessage {
  std::string text;
  std::optional<LiveEvent> event;  // the same with its facts; only of an incident
};

class IncidentWriter {
 public:
  /// So many wait while one is stored; a further one is refused.
  static constexpr size_t kMostWaiting = 2;
  static constexpr size_t kMostEvents = 16;

  IncidentWriter(std::string database, RetentionLimits limits)
      : database_(std::move(database)), limits_(limits) {}
  ~IncidentWriter() { finish(); }
  IncidentWriter(const IncidentWriter&) = delete;
  IncidentWriter& operator=(const IncidentWriter&) = delete;

  /// Where the packets of incidents are written. REQUIRES: called before the first give().
  void set_packet_directory(PacketDirectory directory) { directory_ = std::move(directory); }
  const std::optional<PacketDirectory>& packet_directory() const { return directory_; }

  /// False if too many wait already: this one is lost, which is among the messages.
  [[nodiscard]] bool give(Incident incident);
  /// What became of incidents, one sentence each. Each is returned once.
  std::vector<IncidentMessage> take_messages();
  /// The events of the same for another log. If nobody takes them, the oldest of many go.
  std::vector<LiveEvent> take_events();
  /// Stores what waits, and ends the thread.
  void finish();

  /// How many incidents were stored, and how many could not be.
  size_t stored() const;
  size_t lost() const;

 private:
  void run();
  void tell(std::string text, std::optional<LiveEvent> event = std::nullopt);
  void tell_lost(const Incident& incident, const std::string& why);

  const std::string database_;
  const RetentionLimits limits_;
  std::optional<PacketDirectory> directory_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Incident> waiting_;  // guarded by mutex_, as is all that follows
  std::vector<IncidentMessage> messages_;
  std::deque<LiveEvent> events_;
  size_t stored_ = 0;
  size_t lost_ = 0;
  bool ending_ = false;
  std::thread thread_;  // from the first incident on
};

struct StoredIncident {
  std::string run;
  std::string packet_file;  // its name; empty: none
  std::string packets;      // a sentence; empty: packets were not asked for
};

/// Stores one incident as a run, and its packets beside the database. Waits up to 10 s for another
/// program's lock. If only the packets cannot be written, the run says so. `directory` may be null
/// if the incident has no packets.
Result<StoredIncident> store_incident(const Incident& incident, const std::string& database,
                                      const PacketDirectory* directory);

}  // namespace topspin
