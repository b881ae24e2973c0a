// The page's style and scripts, which the build puts into the program (cmake/InlinePage.cmake
// writes page_assets.cc from report/html/page/ and uPlot). Each has the hash by which the page's
// Content-Security-Policy allows it.
#pragma once

#include <span>
#include <string_view>

namespace topspin {

// NOLINTBEGIN(readability-identifier-naming): constants, which clang-tidy takes for variables
extern const bool kPageHasPlots;  // false: built with TOPSPIN_PLOTS=OFF
extern const std::string_view kPageStyle;
extern const std::span<const std::string_view> kPageScripts;
extern const std::string_view kPageStyleSources;   // "'sha256-...'"
extern const std::string_view kPageScriptSources;  // "'sha256-...' 'sha256-...'", or "'none'"
extern const std::string_view kPageNotice;         // HTML: the licence of what the page carries
// NOLINTEND(readability-identifier-naming)

}  // namespace topspin
