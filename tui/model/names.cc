#include "tui/model/names.h"

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {

std::string NameTable::fit(std::string_view name) {
  if (name.size() > kMaxNameBytes) name = name.substr(0, kMaxNameBytes);
  return sanitize_for_terminal(name);
}

std::string NameTable::address(const Endpoint& end, uint8_t ip_version) const {
  const std::string* name = host({end.address, ip_version});
  return name != nullptr && !name->empty() ? *name : format_address(end, ip_version);
}

std::string NameTable::endpoint(const Endpoint& end, uint8_t ip_version, uint8_t protocol) const {
  const std::string* host_name = host({end.address, ip_version});
  const std::string* service_name = service({end.port, protocol});
  const bool has_host = host_name != nullptr && !host_name->empty();
  const bool has_service = service_name != nullptr && !service_name->empty();
  if (!has_host && !has_service) return format_endpoint(end, ip_version);
  std::string host_text = has_host ? *host_name : format_address(end, ip_version);
  if (!has_host && ip_version == 6) host_text = fmt::format("[{}]", host_text);
  return fmt::format("{}:{}", host_text, has_service ? *service_name : fmt::format("{}", end.port));
}

}  // namespace topspin
