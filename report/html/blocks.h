// Renders the tree of a report as HTML: lines, tables and all other blocks. Private to the room.
#pragma once

#include "report/document/document.h"
#include "report/html/html_text.h"

namespace topspin {

Html html_span(const document::Span& span);
Html html_line(const document::Line& line);
/// " class=..." for a tone; empty: plain.
Html html_tone(document::Tone tone);
/// A whole section, in an element with its id.
Html html_section(const document::Section& section);

}  // namespace topspin
