#include "app/watch/journal_notice.h"

#include <cctype>
#include <cstdlib>
#include <string_view>

#include <endian.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr const char* kJournal = "/run/systemd/journal/socket";
constexpr int kPriorityError = 3, kPriorityWarning = 4;  // of syslog

/// What JOURNAL_STREAM has if standard error is the journal: device and inode.
bool is_stderr_the_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &info) == 0 &&
         fmt::format("{}:{}", info.st_dev, info.st_ino) == stream;
}

/// "TOPSPIN_INCIDENT_RULE". Names are from the source, so they have nothing else.
std::string field_name(std::string_view name) {
  std::string field(name);
  for (char& c : field) {
    c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return field;
}

/// A text with a line break has its length before it, as 64 bits with the low byte first.
void add_field(std::string_view name, std::string_view value, std::string& entry) {
  entry += name;
  if (value.find('\n') == std::string_view::npos) {
    entry += '=';
  } else {
    const uint64_t size = htole64(value.size());
    entry += '\n';
    entry.append(reinterpret_cast<const char*>(&size), sizeof size);
  }
  entry += value;
  entry += '\n';
}

}  // namespace

std::string journal_entry(const LiveEvent& event) {
  const bool is_error = event.severity == LiveEvent::Severity::kError;
  std::string entry;
  add_field("MESSAGE", sanitize_for_terminal(event.text), entry);
  add_field("PRIORITY", std::to_string(is_error ? kPriorityError : kPriorityWarning), entry);
  add_field("SYSLOG_IDENTIFIER", "topspin", entry);
  add_field("TOPSPIN_EVENT", event.name, entry);
  for (const auto& [name, value] : event.attributes) add_field(field_name(name), value, entry);
  return entry;
}

JournalNotice::JournalNotice() {
  if (is_stderr_the_journal()) socket_ = DatagramSocket(kJournal);
}

bool JournalNotice::send(const LiveEvent& event) const {
  return socket_.send(journal_entry(event));
}

}  // namespace topspin
