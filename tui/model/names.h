// NameTable: the names of addresses and ports that were looked up for the screen.
//
// The owner of the screen asks a resolver for the visible ones and adds the answers here; views
// only read. Names come from outside, so they are sanitised and cut when they are added. The table
// keeps at most kMaxNames of each kind and removes the oldest first. A value; pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "core/flow/flow.h"

namespace topspin {

/// An address without its port.
struct HostKey {
  std::array<uint8_t, 16> address{};
  uint8_t ip_version = 4;
  auto operator<=>(const HostKey&) const = default;
};

struct ServiceKey {
  uint16_t port = 0;
  uint8_t protocol = 0;
  auto operator<=>(const ServiceKey&) const = default;
};

class NameTable {
 public:
  static constexpr size_t kMaxNames = 8192;
  static constexpr int kMaxNameBytes = 64;

  /// Adds a name. An empty one means that the lookup found none.
  void set_host(const HostKey& key, std::string_view name) { hosts_.set(key, name); }
  void set_service(const ServiceKey& key, std::string_view name) { services_.set(key, name); }

  /// nullptr if not looked up yet.
  const std::string* host(const HostKey& key) const { return hosts_.find(key); }
  const std::string* service(const ServiceKey& key) const { return services_.find(key); }

  /// "localhost:http", with numbers if there is no name.
  std::string endpoint(const Endpoint& end, uint8_t ip_version, uint8_t protocol) const;
  std::string address(const Endpoint& end, uint8_t ip_version) const;

 private:
  template <typename Key>
  class Names {
   public:
    void set(const Key& key, std::string_view name) {
      const auto [at, fresh] = names_.insert_or_assign(key, fit(name));
      if (!fresh) return;
      order_.push_back(key);
      if (order_.size() <= kMaxNames) return;
      names_.erase(order_.front());
      order_.pop_front();
    }
    const std::string* find(const Key& key) const {
      const auto at = names_.find(key);
      return at == names_.end() ? nullptr : &at->second;
    }

   private:
    std::map<Key, std::string> names_;
    std::deque<Key> order_;  // in order of arrival
  };
  static std::string fit(std::string_view name);

  Names<HostKey> hosts_;
  Names<ServiceKey> services_;
};

}  // namespace topspin
