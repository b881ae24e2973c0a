// JournalNotice: sends events to systemd's journal with their fields, for a service whose standard
// error is the journal: the native protocol of systemd-journald, which is one datagram per entry.
// Elsewhere it does nothing.
#pragma once

#include <string>

#include "app/watch/datagram_socket.h"
#include "report/export/export.h"

namespace topspin {

/// An entry of the journal: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, TOPSPIN_EVENT (its name), and an
/// attribute "topspin.incident.rule" as TOPSPIN_INCIDENT_RULE. Pure.
std::string journal_entry(const LiveEvent& event);

class JournalNotice {
 public:
  /// Reads JOURNAL_STREAM.
  JournalNotice();

  /// False if the journal did not take it: then say it as any other message.
  [[nodiscard]] bool send(const LiveEvent& event) const;

 private:
  DatagramSocket socket_;  // sends nothing if standard error is not the journal
};

}  // namespace topspin
