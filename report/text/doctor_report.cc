#include "report/text/doctor_report.h"

#include <fmt/format.h>

#include "core/text.h"
#include "report/json/flow_json.h"
#include "report/json/json_parts.h"

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

std::string doctor_json(const DoctorReport& report) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["versions"] = report.versions;
  json["host"] = {
      {"os", report.host.os}, {"kernel", report.host.kernel}, {"cpu_model", report.host.cpu_model}};
  json["findings"] = Json::array();
  for (const DoctorFinding& f : report.findings) {
    json["findings"].push_back({{"feature", f.feature},
                                {"rung", f.rung},
                                {"works", f.works},
                                {"reason", f.reason.empty() ? Json(nullptr) : Json(f.reason)},
                                {"remedy", f.remedy.empty() ? Json(nullptr) : Json(f.remedy)}});
  }
  return dump_json(json, 2);
}

}  // namespace topspin
