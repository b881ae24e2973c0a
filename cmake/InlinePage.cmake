# Writes page_assets.cc: the style and scripts of the HTML report as strings, each with the hash by which the page's
# Content-Security-Policy allows it. Run by the build as a script:
#   cmake -DPAGE=report/html/page -DUPLOT=DIR -DOUTPUT=FILE -P InlinePage.cmake
# An empty UPLOT makes a page without plots.

# The base64 of a text's SHA-256, as a policy wants it: three hex digits are two base64 digits.
function(csp_hash result text)
  set(alphabet ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
  string(SHA256 hex "${text}")
  set(base64 "")
  foreach(at RANGE 0 63 3)
    string(SUBSTRING "${hex}00" ${at} 3 three)
    math(EXPR high "0x${three} >> 6")
    math(EXPR low "0x${three} & 63")
    string(SUBSTRING ${alphabet} ${high} 1 a)
    string(SUBSTRING ${alphabet} ${low} 1 b)
    string(APPEND base64 ${a}${b})
  endforeach()
  # 256 bits are 43 digits and a filler; the 44th came from the two zeros that were appended.
  string(SUBSTRING ${base64} 0 43 base64)
  set(${result} "'sha256-${base64}='" PARENT_SCOPE)
endfunction()

function(read_asset result file)
  file(READ ${file} text)
  string(TOLOWER "${text}" lower)
  foreach(forbidden "</script" "</style" "<!--" ")TOPSPIN_PAGE\"")
    string(TOLOWER "${forbidden}" forbidden)
    string(FIND "${lower}" "${forbidden}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} holds ${forbidden}: it cannot stand inside a page")
    endif()
  endforeach()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

read_asset(style ${PAGE}/page.css)
set(scripts "")
set(script_sources "'none'")
set(script_list "")
set(notice "")
set(has_plots false)
if(UPLOT)
  set(has_plots true)
  read_asset(uplot_style ${UPLOT}/package/dist/uPlot.min.css)
  read_asset(uplot ${UPLOT}/package/dist/uPlot.iife.min.js)
  read_asset(page ${PAGE}/page.js)
  read_asset(flame ${PAGE}/flame.js)
  string(APPEND page "${flame}")
  file(READ ${UPLOT}/package/LICENSE license)
  set(style "${uplot_style}\n${style}")
  csp_hash(uplot_hash "${uplot}")
  csp_hash(page_hash "${page}")
  set(script_sources "${uplot_hash} ${page_hash}")
  set(scripts "constexpr std::string_view kUplot = R\"TOPSPIN_PAGE(${uplot})TOPSPIN_PAGE\";\n
constexpr std::string_view kScript = R\"TOPSPIN_PAGE(${page})TOPSPIN_PAGE\";\n
constexpr std::string_view kScripts[] = {kUplot, kScript};\n")
  set(script_list "kScripts")
  set(notice "<details><summary>Plots are drawn by uPlot</summary><pre>${license}</pre></details>\n")
endif()
csp_hash(style_hash "${style}")

file(WRITE ${OUTPUT}.new "// Generated from report/html/page by cmake/InlinePage.cmake: edit those files.
#include \"report/html/page_assets.h\"

namespace topspin {
namespace {

${scripts}
}  // namespace

const bool kPageHasPlots = ${has_plots};
const std::string_view kPageStyle = R\"TOPSPIN_PAGE(${style})TOPSPIN_PAGE\";
const std::span<const std::string_view> kPageScripts{${script_list}};
const std::string_view kPageStyleSources = \"${style_hash}\";
const std::string_view kPageScriptSources = \"${script_sources}\";
const std::string_view kPageNotice = R\"TOPSPIN_PAGE(${notice})TOPSPIN_PAGE\";

}  // namespace topspin
")
file(RENAME ${OUTPUT}.new ${OUTPUT})
