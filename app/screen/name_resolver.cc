#include "app/screen/name_resolver.h"

#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

namespace topspin {
namespace {

using Question = std::variant<HostKey, ServiceKey>;

/// Empty if there is no name.
std::string look_up(const HostKey& key) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (key.ip_version == 4) {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_addr, key.address.data(), 4);
    size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    std::memcpy(&in.sin6_addr, key.address.data(), 16);
    size = sizeof in;
  }
  std::array<char, NI_MAXHOST> name{};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&storage), size, name.data(), name.size(),
                  nullptr, 0, NI_NAMEREQD) != 0) {
    return {};
  }
  return name.data();
}

std::string look_up(const ServiceKey& key) {
  std::array<char, 1024> buffer{};
  servent entry{};
  servent* found = nullptr;
  const char* protocol = key.protocol == kProtocolTcp ? "tcp" : "udp";
  if (getservbyport_r(htons(key.port), protocol, &entry, buffer.data(), buffer.size(), &found) !=
          0 ||
      found == nullptr) {
    return {};
  }
  return found->s_name;
}

}  // namespace

struct NameResolver::Shared {
  std::mutex mutex;
  std::condition_variable asked;
  // All below guarded by mutex.
  bool ended = false;
  std::deque<Question> waiting;
  std::set<Question> pending;  // waiting, or being looked up
  std::vector<std::pair<Question, std::string>> answers;
};

NameResolver::NameResolver() : shared_(std::make_shared<Shared>()) {
  std::thread thread([shared = shared_] { run(shared); });
  pthread_setname_np(thread.native_handle(), "topspin-names");
  thread.detach();
}

NameResolver::~NameResolver() {
  const std::lock_guard lock(shared_->mutex);
  shared_->ended = true;
  shared_->asked.notify_one();
}

void NameResolver::run(const std::shared_ptr<Shared>& shared) {
  while (true) {
    Question question;
    {
      std::unique_lock lock(shared->mutex);
      shared->asked.wait(lock, [&] { return shared->ended || !shared->waiting.empty(); });
      if (shared->ended) return;
      question = shared->waiting.front();
      shared->waiting.pop_front();
    }
    std::string name = std::visit([](const auto& key) { return look_up(key); }, question);
    const std::lock_guard lock(shared->mutex);
    shared->pending.erase(question);
    shared->answers.emplace_back(question, std::move(name));
  }
}

void NameResolver::ask(const NameWants& wants) {
  const std::lock_guard lock(shared_->mutex);
  const auto add = [&](const Question& question) {
    if (shared_->waiting.size() >= kMaxWaiting) return;
    if (shared_->pending.insert(question).second) shared_->waiting.push_back(question);
  };
  // Names of ports are in a local file, so they come at once.
  for (const ServiceKey& key : wants.services) add(key);
  for (const HostKey& key : wants.hosts) add(key);
  if (!shared_->waiting.empty()) shared_->asked.notify_one();
}

bool NameResolver::take(NameTable& names) {
  const std::lock_guard lock(shared_->mutex);
  for (const auto& [question, name] : shared_->answers) {
    if (const auto* host = std::get_if<HostKey>(&question))
      names.set_host(*host, name);
    else
      names.set_service(std::get<ServiceKey>(question), name);
  }
  const bool any = !shared_->answers.empty();
  shared_->answers.clear();
  return any;
}

bool NameResolver::busy() const {
  const std::lock_guard lock(shared_->mutex);
  return !shared_->pending.empty() || !shared_->answers.empty();
}

}  // namespace topspin
