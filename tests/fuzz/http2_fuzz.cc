// Fuzz target: an HTTP/2 server's bytes, and what is done with an answer: cookies and checks. The
// first byte of the input gives the size of the pieces in which it comes.
#include <memory>

#include "core/base/check.h"
#include "load/http/http.h"
#include "tests/fuzz/fuzz.h"

namespace {

using topspin::Http2Session;

/// A frame of HTTP/2.
std::string frame(uint8_t type, uint8_t flags, uint8_t stream, const std::string& payload) {
  std::string bytes = {
      0, 0, static_cast<char>(payload.size()), static_cast<char>(type), static_cast<char>(flags), 0,
      0, 0, static_cast<char>(stream)};
  return bytes + payload;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const auto kChecks = topspin::HttpChecks::make(
      "200", {"json /id = 7", "header set-cookie contains a", "body contains id"});
  CHECK(kChecks.ok());
  const topspin::PreparedHttpRequest request = topspin::prepare_request({}, "example.org");
  Http2Session session({.headers = true, .body = true}, 3);
  uint64_t submitted = 0, ended = 0;
  topspin::CookieJar jar;
  std::vector<uint32_t> failed;
  const auto submit = [&] {
    while (session.can_submit() && submitted < 20) session.submit(submitted++, request, "http");
    while (!session.output().empty()) {
    }
  };
  const auto take = [&] {
    for (; !session.ended().empty(); session.ended().pop_front()) {
      const Http2Session::Ended& one = session.ended().front();
      CHECK(one.exchange < submitted);
      ++ended;
      if (one.fate != Http2Session::Fate::kAnswered) continue;
      CHECK(one.answer.status >= 100 && one.answer.status <= 999);
      CHECK(one.answer.body.size() <= topspin::kKeptBodyBytes);
      kChecks->judge(one.answer, failed);
      CHECK(failed.size() <= kChecks->names().size());
      jar.take(one.answer, "/", 1);
      CHECK(jar.header("/", true, 1).size() <=
            topspin::kMaxCookies * (topspin::kMaxCookieBytes + 4));
    }
  };
  submit();
  std::span<const uint8_t> bytes(data + 1, size - 1);
  const size_t piece = data[0] == 0 ? SIZE_MAX : data[0];
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    // A copy of its own, so that reading behind it is seen.
    const std::vector<uint8_t> copy(part.begin(), part.end());
    const bool is_fine = session.feed(copy);
    take();
    if (!is_fine) break;
    submit();
    bytes = bytes.subspan(part.size());
  }
  take();
  CHECK(ended + session.open() == submitted);
  CHECK(session.abandon().size() + ended == submitted);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const std::string settings = frame(4, 0, 0, "") + frame(4, 1, 0, "");
  // 0x88 is ":status: 200", 0x8d ":status: 404"; 0x40 begins a literal with a new name.
  const std::string cookie(
      "\x88\x40\x0aset-cookie\x08"
      "a=1;b=2;",
      22);
  return {
      std::string(1, '\0') + settings + frame(1, 4, 1, "\x88") + frame(0, 1, 1, "{\"id\": 7}"),
      "\3" + settings + frame(1, 4, 1, cookie) + frame(0, 1, 1, "x") + frame(1, 5, 3, "\x8d") +
          frame(3, 0, 5, std::string("\0\0\0\7", 4)),
      "\7" + settings + frame(7, 0, 0, std::string("\0\0\0\1\0\0\0\0", 8)),
      "\1" + settings + frame(1, 0, 1, "\x88") + frame(9, 4, 1, "") + frame(6, 0, 0, "12345678"),
      "\2HTTP/1.1 200 OK\r\n\r\n"};
}
