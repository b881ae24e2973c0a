#include <fmt/format.h>

#include "core/text.h"
#include "report/text/text_report.h"

namespace topspin {

std::string doctor_text(const DoctorReport& report) {
  std::string out = report.versions;
  out += fmt::format("host: {}, kernel {}, {}\n\n", sanitize_for_terminal(report.host.os),
                     sanitize_for_terminal(report.host.kernel),
                     sanitize_for_terminal(report.host.cpu_model));
  for (const DoctorFinding& finding : report.findings) {
    out += fmt::format("{:<4} {:<10} {:<12}", finding.works ? "ok" : "NO", finding.feature,
                       sanitize_for_terminal(finding.rung));
    if (!finding.reason.empty()) out += fmt::format(" {}", sanitize_for_terminal(finding.reason));
    out += "\n";
    if (!finding.remedy.empty())
      out += fmt::format("     mend it: {}\n", sanitize_for_terminal(finding.remedy));
  }
  return out;
}

}  // namespace topspin
