#include "app/screen/name_resolver.h"

#include <algorithm>
#include <array>
#include <cerrno>
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
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/host/privileges.h"

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

std::string look_up(const Question& question) {
  return std::visit([](const auto& key) { return look_up(key); }, question);
}

/// A question as it goes to the name process: a message of its own. The answer is a message too:
/// one byte, so that it is never empty, and then the name.
struct Message {
  uint8_t is_service = 0;
  uint8_t ip_version_or_protocol = 0;
  uint16_t port = 0;
  std::array<uint8_t, 16> address{};
};
static_assert(sizeof(Message) == 20);
constexpr size_t kMostAnswerBytes = 1 + NI_MAXHOST;

Message message_of(const Question& question) {
  Message message;
  if (const auto* service = std::get_if<ServiceKey>(&question)) {
    message.is_service = 1;
    message.ip_version_or_protocol = service->protocol;
    message.port = service->port;
  } else {
    const auto& host = std::get<HostKey>(question);
    message.ip_version_or_protocol = host.ip_version;
    message.address = host.address;
  }
  return message;
}

Question question_of(const Message& message) {
  if (message.is_service != 0) return ServiceKey{message.port, message.ip_version_or_protocol};
  return HostKey{message.address, message.ip_version_or_protocol};
}

/// Empty if there is no name, or the process has ended.
std::string ask_process(int process, const Question& question) {
  const Message message = message_of(question);
  if (::write(process, &message, sizeof message) != sizeof message) return {};
  std::array<char, kMostAnswerBytes> answer{};
  ssize_t got = 0;
  do {
    got = ::read(process, answer.data(), answer.size());
  } while (got < 0 && errno == EINTR);
  return got <= 1 ? std::string() : std::string(answer.data() + 1, static_cast<size_t>(got) - 1);
}

[[noreturn]] void serve_names(int client, pid_t parent) {
  // The terminal and pipes are the parent's.
  const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing.get(), fd);
  if (!drop_privileges(invoking_user(), {}).ok()) _exit(1);
  // A change of user clears this setting, so it comes after.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) _exit(0);
  while (true) {
    Message message;
    const ssize_t got = ::read(client, &message, sizeof message);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof message) _exit(0);
    std::string answer = "=" + look_up(question_of(message));
    answer.resize(std::min(answer.size(), kMostAnswerBytes));
    if (::write(client, answer.data(), answer.size()) < 0) _exit(0);
  }
}

}  // namespace

Result<UniqueFd> start_name_process() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return make_error(ErrorCode::kInternal, "cannot start the process that looks names up", errno);
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0)
    return make_error(ErrorCode::kInternal, "cannot start the process that looks names up", errno);
  if (child == 0) {
    ours.reset();
    serve_names(theirs.get(), parent);
  }
  return ours;
}

struct NameResolver::Shared {
  const UniqueFd process;
  std::mutex mutex;
  std::condition_variable asked;
  // All below guarded by mutex.
  bool ended = false;
  std::deque<Question> waiting;
  std::set<Question> pending;  // waiting, or being looked up
  std::vector<std::pair<Question, std::string>> answers;

  explicit Shared(UniqueFd process_end) : process(std::move(process_end)) {}
};

NameResolver::NameResolver(UniqueFd process)
    : shared_(std::make_shared<Shared>(std::move(process))) {
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
    std::string name =
        shared->process ? ask_process(shared->process.get(), question) : look_up(question);
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
