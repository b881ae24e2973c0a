// Fuzz target: an HTTP reply. Fed whole and in pieces, it must give the same result. The first byte
// of the input gives the size of the pieces.
#include "core/base/check.h"
#include "load/http/http_response.h"
#include "tests/fuzz/fuzz.h"

namespace {

/// Feeds the text in pieces of `piece` bytes. `taken`: how many bytes the response took.
topspin::HttpResponse feed(std::string_view text, size_t piece, size_t& taken) {
  topspin::HttpResponse response;
  taken = 0;
  while (!text.empty() && response.state() == topspin::HttpResponse::State::kMore) {
    const std::vector<uint8_t> bytes(text.begin(), text.begin() + std::min(piece, text.size()));
    const size_t took = response.feed(bytes);
    CHECK(took <= bytes.size());
    taken += took;
    text.remove_prefix(bytes.size());
  }
  response.end_of_stream();
  return response;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz_text(data + 1, size - 1);
  size_t taken_whole = 0, taken_in_pieces = 0;
  const auto whole = feed(text, SIZE_MAX, taken_whole);
  const auto in_pieces = feed(text, 1 + data[0] % 16, taken_in_pieces);
  CHECK(whole.state() == in_pieces.state());
  if (whole.state() != topspin::HttpResponse::State::kDone) return 0;
  CHECK(whole.status() >= 100 && whole.status() <= 999);
  CHECK(whole.status() == in_pieces.status() && whole.body_bytes() == in_pieces.body_bytes());
  CHECK(whole.keep_alive() == in_pieces.keep_alive() && taken_whole == taken_in_pieces);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {std::string(1, '\0') + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP",
          "\3HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;e=1\r\n"
          "0123456789\r\n0\r\nT: x\r\n\r\n",
          "\1HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\nConnection: foo,\n close\n\nrest",
          "\7HTTP/1.1 304 Same\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n",
          "\2HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nx"};
}
