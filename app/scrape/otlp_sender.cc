#include "app/scrape/otlp_sender.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/sandbox/sandbox.h"
#include "app/version.h"
#include "core/base/shared_library.h"
#include "core/base/text.h"
#include "report/json/values.h"

namespace topspin {
namespace {

// What is used of libcurl, version 7.66 and later.
#define TOPSPIN_LIBCURL(use)                                                             \
  use(curl_global_init) use(curl_easy_init) use(curl_easy_setopt) use(curl_easy_perform) \
      use(curl_easy_getinfo) use(curl_easy_strerror) use(curl_slist_append) use(curl_version)

struct Libcurl {
#define TOPSPIN_DECLARE(name) decltype(&::name) name = nullptr;
  TOPSPIN_LIBCURL(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE
};

Result<SharedLibrary> open_libcurl() {
  constexpr SharedLibrary::Texts kTexts{
      .needed = "--otlp needs libcurl",
      .remedy =
          "install the package libcurl4 (Debian 12), libcurl4t64 (Debian 13, Ubuntu) or "
          "libcurl (Fedora)",
      .if_static = "libcurl, which --otlp needs; use --textfile and a collector that reads it"};
  auto library = SharedLibrary::open("libcurl.so.4", kTexts);
  if (library.ok()) return library;
  // Debian has it with GnuTLS too.
  auto other = SharedLibrary::open("libcurl-gnutls.so.4", kTexts);
  return other.ok() ? std::move(other) : std::move(library);
}

Result<Libcurl> load_libcurl() {
  TOPSPIN_ASSIGN(SharedLibrary library, open_libcurl());
  Libcurl curl;
#define TOPSPIN_LOAD(function) library.find(#function, curl.function);
  TOPSPIN_LIBCURL(TOPSPIN_LOAD)
#undef TOPSPIN_LOAD
  if (!library.missing().empty()) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the installed libcurl is too old: it has no {}", library.missing()));
  }
  if (curl.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return make_error(ErrorCode::kUnsupported, "libcurl cannot start");
  return curl;
}

// What goes between the two processes: the head of a request, followed by its body, and an answer.

struct RequestHead {
  uint8_t is_logs = 0;
  uint64_t bytes = 0;
};

struct AnswerMessage {
  uint8_t outcome = 0;  // OtlpAnswer::Outcome
  int64_t retry_after_ns = 0;
  uint64_t rejected = 0;
  std::array<char, 480> text{};
};
static_assert(std::is_trivially_copyable_v<AnswerMessage>);

bool send_all(int fd, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t sent = ::send(fd, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_all(int fd, void* bytes, size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = ::recv(fd, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool send_answer(int fd, const OtlpAnswer& answer) {
  AnswerMessage message;
  message.outcome = static_cast<uint8_t>(answer.outcome);
  message.retry_after_ns = answer.retry_after_ns;
  message.rejected = answer.rejected;
  const size_t size = std::min(answer.text.size(), message.text.size() - 1);
  std::copy_n(answer.text.begin(), size, message.text.begin());
  return send_all(fd, &message, sizeof message);
}

// The process that sends.

size_t keep_body(char* bytes, size_t /*one*/, size_t size, void* into) {
  auto& body = *static_cast<std::string*>(into);
  body.append(bytes, std::min(size, OtlpSender::kMostAnswerBytes - body.size()));
  return size;
}

/// A count, which JSON of protobuf has as text and some collectors as a number.
uint64_t count_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return 0;
  if (found->is_number_unsigned()) return found->get<uint64_t>();
  return found->is_string()
             ? std::strtoull(found->get_ref<const std::string&>().c_str(), nullptr, 10)
             : 0;
}

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// What a collector says about a request that it took: {"partialSuccess": {...}}.
void read_partial_success(const std::string& body, OtlpAnswer& answer) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains("partialSuccess")) return;
  const Json& partial = json["partialSuccess"];
  if (!partial.is_object()) return;
  answer.rejected =
      count_of(partial, "rejectedDataPoints") + count_of(partial, "rejectedLogRecords");
  if (const std::string why = text_of(partial, "errorMessage"); !why.empty())
    answer.text += ": " + why;
}

/// What it says about one that it did not: google.rpc.Status, or some text.
std::string reason_of(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_object()) return text_of(json, "message");
  return json.is_discarded() ? body.substr(0, body.find_first_of("\r\n")) : std::string();
}

OtlpAnswer::Outcome outcome_of(long status) {
  if (status >= 200 && status < 300) return OtlpAnswer::Outcome::kAccepted;
  const bool may_pass = status == 429 || status == 502 || status == 503 || status == 504;
  return may_pass ? OtlpAnswer::Outcome::kTryAgain : OtlpAnswer::Outcome::kRefused;
}

/// Without a status: what passes when the network or the collector is there again.
OtlpAnswer::Outcome outcome_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING: return OtlpAnswer::Outcome::kTryAgain;
    default: return OtlpAnswer::Outcome::kRefused;
  }
}

class Client {
 public:
  Client(const Libcurl& curl, const OtlpTarget& target)
      : curl_(curl), target_(target), easy_(curl.curl_easy_init()) {
    add_header("Content-Type: application/json");
    add_header("Expect:");  // none
    for (const std::string& header : target.headers) add_header(header.c_str());
    set(CURLOPT_POST, 1L);
    set(CURLOPT_HTTPHEADER, headers_);
    set(CURLOPT_USERAGENT, fmt::format("topspin/{}", kVersion).c_str());
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!target.certificates.empty()) set(CURLOPT_CAINFO, target.certificates.c_str());
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_TIMEOUT_MS, OtlpSender::kTimeoutMs);
    set(CURLOPT_CONNECTTIMEOUT_MS, OtlpSender::kConnectTimeoutMs);
    set(CURLOPT_ERRORBUFFER, error_.data());
    set(CURLOPT_WRITEFUNCTION, &keep_body);
    set(CURLOPT_WRITEDATA, &answer_body_);
  }
  bool ok() const { return easy_ != nullptr && is_set_; }

  OtlpAnswer send(bool is_logs, const std::string& body) {
    answer_body_.clear();
    error_[0] = '\0';
    set(CURLOPT_URL, (is_logs ? target_.logs_url : target_.metrics_url).c_str());
    set(CURLOPT_POSTFIELDS, body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    const CURLcode code = curl_.curl_easy_perform(easy_);
    OtlpAnswer answer;
    if (code != CURLE_OK) {
      answer.outcome = outcome_of(code);
      answer.text = error_[0] != '\0' ? error_.data() : curl_.curl_easy_strerror(code);
      return answer;
    }
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_.curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    curl_.curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer.outcome = outcome_of(status);
    answer.text = fmt::format("HTTP {}", status);
    if (answer.outcome == OtlpAnswer::Outcome::kAccepted) {
      read_partial_success(answer_body_, answer);
    } else if (const std::string why = reason_of(answer_body_); !why.empty()) {
      answer.text += ": " + why;
    }
    constexpr curl_off_t kMostSeconds = OtlpQueue::kLongestRetryAfterNs / kNanosPerSecond;
    answer.retry_after_ns =
        static_cast<int64_t>(std::clamp<curl_off_t>(retry_after_s, 0, kMostSeconds)) *
        kNanosPerSecond;
    return answer;
  }

 private:
  template <typename Value>
  void set(CURLoption option, Value value) {
    if (easy_ != nullptr) is_set_ &= curl_.curl_easy_setopt(easy_, option, value) == CURLE_OK;
  }
  void add_header(const char* line) {
    curl_slist* const longer = curl_.curl_slist_append(headers_, line);
    is_set_ &= longer != nullptr;
    if (longer != nullptr) headers_ = longer;
  }

  const Libcurl& curl_;
  const OtlpTarget& target_;
  CURL* const easy_;  // for as long as the process lives, as are the headers
  curl_slist* headers_ = nullptr;
  bool is_set_ = true;
  std::string answer_body_;
  std::array<char, CURL_ERROR_SIZE> error_{};
};

/// The files that the user named for libraries.
std::vector<std::string> named_files(const OtlpTarget& target) {
  std::vector<std::string> files = {target.certificates};
  for (const char* name : {"SSL_CERT_FILE", "SSL_CERT_DIR"}) {
    if (const char* file = std::getenv(name)) files.emplace_back(file);
  }
  return files;
}

/// Loads what it needs, and gives up the rest. Returns the library's name.
Result<std::string> prepare(const OtlpTarget& target, const std::optional<UserIdentity>& user,
                            std::optional<Libcurl>& curl) {
  TOPSPIN_TRY(drop_privileges(user, {}));
  if (!target.certificates.empty() && ::access(target.certificates.c_str(), R_OK) != 0) {
    return make_error(ErrorCode::kInput,
                      fmt::format("cannot read {} of OTEL_EXPORTER_OTLP_CERTIFICATE: {}",
                                  sanitize_for_terminal(target.certificates), std::strerror(errno)),
                      errno);
  }
  TOPSPIN_ASSIGN(curl, load_libcurl());
  TOPSPIN_TRY(limit_sender(named_files(target)));
  return std::string(curl->curl_version());
}

[[noreturn]] void serve_requests(int recording, pid_t parent, const OtlpTarget& target,
                                 const std::optional<UserIdentity>& user) {
  // It ends with the recording, and not by a signal from the terminal.
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  ::prctl(PR_SET_NAME, "topspin-otlp");
  {
    // The terminal and pipes are the parent's.
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing.get(), fd);
  }
  std::optional<Libcurl> curl;
  OtlpAnswer hello;
  const auto prepared = prepare(target, user, curl);
  hello.text = prepared.ok() ? *prepared : prepared.error().message;
  if (!prepared.ok()) {
    hello.outcome = OtlpAnswer::Outcome::kRefused;
    hello.rejected = static_cast<uint64_t>(prepared.error().code);
  }
  // A change of user clears this setting, so it comes after.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  if (!send_answer(recording, hello) || !prepared.ok()) ::_exit(1);
  Client client(*curl, target);
  std::string body;
  while (true) {
    RequestHead head;
    if (!receive_all(recording, &head, sizeof head)) ::_exit(0);
    body.resize(head.bytes);
    if (!receive_all(recording, body.data(), body.size())) ::_exit(0);
    OtlpAnswer answer;
    if (client.ok()) {
      answer = client.send(head.is_logs != 0, body);
    } else {
      answer.outcome = OtlpAnswer::Outcome::kRefused;
      answer.text = "libcurl lacks an option that is needed";
    }
    if (!send_answer(recording, answer)) ::_exit(0);
  }
}

}  // namespace

Result<OtlpSender> OtlpSender::start(const OtlpTarget& target,
                                     const std::optional<UserIdentity>& user) {
  const auto failed = [] {
    return make_error(ErrorCode::kInternal, "cannot start the process that sends for --otlp",
                      errno);
  };
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return failed();
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failed();
  if (child == 0) {
    ours.reset();
    serve_requests(theirs.get(), parent, target, user);
  }
  theirs.reset();
  OtlpSender sender(std::move(ours), child);
  const auto hello = sender.take_answer();
  if (!hello)
    return make_error(ErrorCode::kInternal, "the process that sends for --otlp has ended");
  if (hello->outcome != OtlpAnswer::Outcome::kAccepted) {
    const bool is_input = hello->rejected == static_cast<uint64_t>(ErrorCode::kInput);
    return make_error(is_input ? ErrorCode::kInput : ErrorCode::kUnsupported, hello->text);
  }
  sender.library_ = hello->text.substr(0, hello->text.find(' '));
  return sender;
}

OtlpSender::OtlpSender(OtlpSender&& other) noexcept
    : process_(std::move(other.process_)),
      pid_(std::exchange(other.pid_, -1)),
      library_(std::move(other.library_)) {}

OtlpSender::~OtlpSender() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool OtlpSender::send(const OtlpRequest& request) const {
  RequestHead head;
  head.is_logs = request.signal == OtlpRequest::Signal::kLogs ? 1 : 0;
  head.bytes = request.body.size();
  return send_all(process_.get(), &head, sizeof head) &&
         send_all(process_.get(), request.body.data(), request.body.size());
}

std::optional<OtlpAnswer> OtlpSender::take_answer() const {
  AnswerMessage message;
  if (!receive_all(process_.get(), &message, sizeof message)) return std::nullopt;
  if (message.outcome > static_cast<uint8_t>(OtlpAnswer::Outcome::kRefused)) return std::nullopt;
  OtlpAnswer answer;
  answer.outcome = static_cast<OtlpAnswer::Outcome>(message.outcome);
  answer.retry_after_ns = message.retry_after_ns;
  answer.rejected = message.rejected;
  message.text.back() = '\0';
  answer.text = message.text.data();
  return answer;
}

}  // namespace topspin
