// Shared by all exports: the output that gathers small writes, and the cleaning of text.
#include "core/base/text.h"
#include "report/export/export.h"

namespace topspin {
namespace {
constexpr size_t kFlushBytes = 64 * 1024;
}  // namespace

void ExportOutput::write(std::string_view bytes) {
  if (!status_.ok()) return;
  buffer_.append(bytes);
  if (buffer_.size() >= kFlushBytes) flush();
}

void ExportOutput::flush() {
  if (status_.ok() && !buffer_.empty()) status_ = sink_(buffer_);
  buffer_.clear();
}

Status ExportOutput::finish() {
  flush();
  return status_;
}

namespace {

/// Characters that are invisible, or that reverse the direction of the text after them.
bool is_invisible(char32_t c) {
  return c == 0x061C || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x2069) || c == 0xFEFF;
}

}  // namespace

std::string replace_unprintable(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const auto c = next_code_point(text, position);
    const bool control = c && *c < 0x20 && *c != '\n' && *c != '\t' && *c != '\r';
    const bool unusable = !c || control || (*c >= 0x7F && *c < 0xA0) ||
                          (*c >= 0xFDD0 && *c <= 0xFDEF) || (*c & 0xFFFE) == 0xFFFE ||
                          is_invisible(*c);
    out.append(unusable ? kReplacement : text.substr(start, position - start));
  }
  return out;
}

}  // namespace topspin
