// Entries for systemd's journal, read by the rules of its native protocol.
#include <cstring>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "app/watch/journal_notice.h"
#include "tests/app/watch/journal_reader.h"

namespace topspin::test {
namespace {

TEST(JournalNotice, HasTheFieldsOfAnEvent) {
  LiveEvent event;
  event.severity = LiveEvent::Severity::kError;
  event.name = "topspin.incident_lost";
  event.text = "an incident was lost\x1b[31m\nPRIORITY=0";
  event.attributes = {{"topspin.incident.rule", "a = b\nMESSAGE=forged"},
                      {"topspin.incident.run", ""}};
  const auto fields = read_journal_entry(journal_entry(event));
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(*fields, (std::map<std::string, std::string>{
                         {"MESSAGE", "an incident was lost\\x1b[31m\\x0aPRIORITY=0"},
                         {"PRIORITY", "3"},
                         {"SYSLOG_IDENTIFIER", "topspin"},
                         {"TOPSPIN_EVENT", "topspin.incident_lost"},
                         {"TOPSPIN_INCIDENT_RULE", "a = b\nMESSAGE=forged"},
                         {"TOPSPIN_INCIDENT_RUN", ""}}));
}

TEST(JournalNotice, IsSilentWhereStandardErrorIsNoJournal) {
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(JournalNotice().send({}));
  ::setenv("JOURNAL_STREAM", "1:2", 1);
  EXPECT_FALSE(JournalNotice().send({})) << "that of a parent";
  ::unsetenv("JOURNAL_STREAM");
}

}  // namespace
}  // namespace topspin::test
