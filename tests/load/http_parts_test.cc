// The pure parts of the HTTP client: requests, checks, cookies. (Whole exchanges are tested with
// real servers, in http_load_test.cc.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "load/http/http.h"

namespace topspin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string error_of(const Status& status) { return status.ok() ? "" : status.error().message; }

TEST(HttpRequest, IsWrittenAsHttp1) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/a?b=c";
  request.headers = {{"X-One", "1"}};
  request.body = "hello";
  const PreparedHttpRequest prepared = prepare_request(request, "example.org:81");
  EXPECT_EQ(prepared.http1,
            "POST /a?b=c HTTP/1.1\r\nHost: example.org:81\r\nX-One: 1\r\nUser-Agent: topspin\r\n"
            "Content-Length: 5\r\n\r\nhello");
  EXPECT_EQ(prepared.http1_last,
            "POST /a?b=c HTTP/1.1\r\nHost: example.org:81\r\nX-One: 1\r\nUser-Agent: topspin\r\n"
            "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
  request.headers = {{"host", "other"}, {"USER-AGENT", "me"}};
  request.body.clear();
  EXPECT_EQ(prepare_request(request, "example.org").http1,
            "POST /a?b=c HTTP/1.1\r\nHost: other\r\nUSER-AGENT: me\r\nContent-Length: 0\r\n\r\n");
  request.method = "GET";
  EXPECT_THAT(prepare_request(request, "h").http1, Not(HasSubstr("Content-Length")));
}

TEST(HttpRequest, WhatWouldBreakTheMessageIsRefused) {
  const auto check = [](auto change) {
    HttpRequest request;
    change(request);
    return error_of(check_request(request));
  };
  EXPECT_EQ(check([](auto&) {}), "");
  EXPECT_THAT(check([](auto& r) { r.method = "GE T"; }), HasSubstr("no method"));
  EXPECT_THAT(check([](auto& r) { r.method = ""; }), HasSubstr("no method"));
  EXPECT_THAT(check([](auto& r) { r.path = "x"; }), HasSubstr("must begin with /"));
  EXPECT_THAT(check([](auto& r) { r.path = "/a b"; }), HasSubstr("must begin with /"));
  EXPECT_THAT(check([](auto& r) { r.headers = {{"A b", "1"}}; }), HasSubstr("name of a header"));
  EXPECT_THAT(check([](auto& r) { r.headers = {{"A", "1\r\nB: 2"}}; }), HasSubstr("control"));
  EXPECT_THAT(check([](auto& r) {
                r.headers = {{"content-length", "1"}};
              }),
              HasSubstr("topspin itself"));
  EXPECT_FALSE(parse_header("no colon").ok());
  EXPECT_EQ(*parse_header("A:  b c \t"), (HttpHeader{"A", "b c"}));
  EXPECT_EQ(*parse_header("A:"), (HttpHeader{"A", ""}));
}

TEST(HttpRecipe, ColumnsAreFilledIn) {
  HttpRequest request;
  request.path = "/user/{id}?q={word}";
  request.headers = {{"X-Word", "<{word}>"}, {"X-Same", "s"}};
  request.body = R"({"name": "{word}", "n": {}})";
  const auto recipe = HttpRecipe::make(request, {"id", "word"});
  ASSERT_TRUE(recipe.ok()) << recipe.error().message;
  EXPECT_FALSE(recipe->is_fixed());
  EXPECT_TRUE(recipe->is_in_headers(1));
  EXPECT_FALSE(recipe->is_in_headers(0));
  const std::vector<std::string> row = {"7/8", "a&b \xc3\xa4"};
  const HttpRequest filled = recipe->fill(row);
  EXPECT_EQ(filled.path, "/user/7%2F8?q=a%26b%20%C3%A4");
  EXPECT_THAT(filled.headers,
              ElementsAre(HttpHeader{"X-Word", "<a&b \xc3\xa4>"}, HttpHeader{"X-Same", "s"}));
  EXPECT_EQ(filled.body, "{\"name\": \"a&b \xc3\xa4\", \"n\": {}}");

  request.body = "{other}";
  EXPECT_THAT(HttpRecipe::make(request, {"id", "word"}).error().message,
              HasSubstr("{other} is none of the data's columns, which are id, word"));
  // Without data braces mean nothing.
  const auto plain = HttpRecipe::make(request, {});
  ASSERT_TRUE(plain.ok());
  EXPECT_TRUE(plain->is_fixed());
  EXPECT_EQ(plain->fill({}).body, "{other}");
}

TEST(HttpStatuses, ListsRangesAndClasses) {
  const auto statuses = HttpStatuses::parse("204,301-303,5xx");
  ASSERT_TRUE(statuses.ok());
  for (const int in : {204, 301, 302, 303, 500, 599}) EXPECT_TRUE(statuses->contains(in)) << in;
  for (const int out : {200, 203, 205, 300, 304, 499, 600}) {
    EXPECT_FALSE(statuses->contains(out)) << out;
  }
  for (const char* wrong : {"", "2", "20x", "0xx", "200,", "300-200", "99", "1000", "a-b", "-200"})
    EXPECT_FALSE(HttpStatuses::parse(wrong).ok()) << wrong;
}

HttpAnswer answer_of(int status, HttpHeaders headers, std::string body) {
  HttpAnswer answer;
  answer.status = status;
  answer.headers = std::move(headers);
  answer.body = std::move(body);
  return answer;
}

/// The names of the checks that the answer fails.
std::vector<std::string> failed_checks(const std::string& statuses,
                                       const std::vector<std::string>& checks,
                                       const HttpAnswer& answer) {
  const auto made = HttpChecks::make(statuses, checks);
  if (!made.ok()) return {"error: " + made.error().message};
  std::vector<uint32_t> failed;
  made->judge(answer, failed);
  std::vector<std::string> names;
  for (const uint32_t at : failed) names.push_back(made->names()[at]);
  return names;
}

TEST(HttpChecks, EachKind) {
  const HttpAnswer answer =
      answer_of(200, {{"Content-Type", "application/json"}, {"X-A", "1"}, {"x-a", "2"}},
                R"({"user": {"id": 7, "name": "Ann", "tags": [true, null]}, "a/b": 1.5})");
  EXPECT_THAT(failed_checks(
                  "2xx",
                  {"header content-type", "header Content-Type = application/json",
                   "header X-A = 2", "header content-type contains json", "body contains \"Ann\"",
                   "json /user", "json /user/id = 7", "json /user/name = Ann",
                   "n: json /user/name = \"Ann\"", "json /user/tags/0 = true",
                   "json /user/tags/1 = null", "json /a~1b = 1.5", "json /user/tags = [true,null]"},
                  answer),
              IsEmpty());
  EXPECT_THAT(failed_checks("404",
                            {"type: header X-B", "eq: header X-A = 12", "body contains ann",
                             "id: json /user/id = 8", "json /user/tags/2", "json /user/x/y",
                             "text: json /user/id = \"7\""},
                            answer),
              ElementsAre("status", "type", "eq", "body contains ann", "id", "json /user/tags/2",
                          "json /user/x/y", "text"));
  EXPECT_THAT(failed_checks("", {"json /a"}, answer_of(500, {}, "no json")),
              ElementsAre("json /a"));
}

/// A server may nest as deep as it likes. Writing the value of a check must not use up the stack.
TEST(HttpChecks, JsonThatIsNestedTooDeeplyIsNone) {
  const auto nested = [](size_t levels) {
    HttpAnswer answer;
    answer.status = 200;
    answer.body = std::string(levels, '[') + std::string(levels, ']');
    return answer;
  };
  EXPECT_THAT(failed_checks("", {"json /0/0"}, nested(500)), testing::IsEmpty());
  for (const char* check : {"json /0/0", "json /0/0 = 1"}) {
    EXPECT_THAT(failed_checks("", {check}, nested(501)), testing::ElementsAre(check));
    EXPECT_THAT(failed_checks("", {check}, nested(kKeptBodyBytes / 2)),
                testing::ElementsAre(check));
  }
  HttpAnswer in_text;
  in_text.status = 200;
  in_text.body = R"({"a": ")" + std::string(1000, '[') + R"(\"[", "b": 1})";
  EXPECT_THAT(failed_checks("", {"json /b = 1"}, in_text), testing::IsEmpty());
}

TEST(HttpChecks, WhatIsWrongIsNamed) {
  const auto error = [](const std::string& check) {
    const auto made = HttpChecks::make("", {check});
    return made.ok() ? std::string() : made.error().message;
  };
  EXPECT_THAT(error("headers A"), HasSubstr("\"headers\" is not header, body or json"));
  EXPECT_THAT(error("header"), HasSubstr("name is missing"));
  EXPECT_THAT(error("body"), HasSubstr("contains TEXT"));
  EXPECT_THAT(error("body = x"), HasSubstr("does not fit"));
  EXPECT_THAT(error("json user"), HasSubstr("no JSON pointer"));
  EXPECT_THAT(error("json /a contains b"), HasSubstr("does not fit"));
  EXPECT_THAT(error("json /a ="), HasSubstr("nothing to compare"));
  EXPECT_THAT(HttpChecks::make("", {"body contains a", "body contains a"}).error().message,
              HasSubstr("two checks are called"));
  EXPECT_FALSE(HttpChecks::make("", std::vector<std::string>(kMaxHttpChecks + 1, "json ")).ok());
}

TEST(CookieJar, KeepsWhatTheServerSays) {
  CookieJar jar;
  const int64_t now = 1'700'000'000 * kNanosPerSecond;  // 2023-11-14
  const auto set = [&](HttpHeaders headers, std::string_view path = "/") {
    return jar.take(answer_of(200, std::move(headers), ""), path, now);
  };
  EXPECT_EQ(set({{"Set-Cookie", "a=1; HttpOnly"}, {"set-cookie", " b = two words ;Path=/shop"}}),
            0u);
  EXPECT_EQ(jar.header("/", false, now), "a=1");
  EXPECT_EQ(jar.header("/shop/cart?x=/y", false, now), "a=1; b=two words");
  EXPECT_EQ(jar.header("/shopping", false, now), "a=1");
  set({{"Set-Cookie", "a=2"}, {"Set-Cookie", "s=3; Secure; Max-Age=10"}});
  EXPECT_EQ(jar.header("/", false, now), "a=2");
  EXPECT_EQ(jar.header("/", true, now), "a=2; s=3");
  EXPECT_EQ(jar.header("/", true, now + 11 * kNanosPerSecond), "a=2");
  set({{"Set-Cookie", "a=; Max-Age=0"}, {"Set-Cookie", "no equals sign"}, {"Set-Cookie", "=x"}});
  EXPECT_EQ(jar.header("/", false, now), "");
  set({{"Set-Cookie", "old=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT"},
       {"Set-Cookie", "new=1; Expires=Wed, 21-Oct-2037 07:28:00 GMT"},
       {"Set-Cookie", "odd=1; Expires=tomorrow"}});
  EXPECT_EQ(jar.header("/", false, now), "new=1; odd=1");
  // The folder of the request's path, if the cookie has none.
  set({{"Set-Cookie", "f=1"}}, "/x/y?z");
  EXPECT_EQ(jar.header("/x/other", false, now), "new=1; odd=1; f=1");
  EXPECT_EQ(jar.header("/y", false, now), "new=1; odd=1");
}

TEST(CookieJar, HasLimits) {
  CookieJar jar;
  HttpHeaders many;
  for (size_t i = 0; i < kMaxCookies + 10; ++i)
    many.push_back({"Set-Cookie", "c" + std::to_string(i) + "=1"});
  EXPECT_EQ(jar.take(answer_of(200, many, ""), "/", 1), 10u);
  CookieJar other;
  EXPECT_EQ(
      other.take(answer_of(200, {{"Set-Cookie", "a=" + std::string(kMaxCookieBytes, 'x')}}, ""),
                 "/", 1),
      1u);
  EXPECT_EQ(other.header("/", true, 1), "");
}

TEST(HttpResponse, KeepsHeadersAndBodyIfWanted) {
  HttpResponse response({.headers = true, .body = true});
  const std::string text =
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-One: a\r\nX-Two:\r\n"
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    response.feed({&byte, 1});
  }
  ASSERT_EQ(response.state(), HttpResponse::State::kDone);
  EXPECT_EQ(response.answer().body, "abcde");
  EXPECT_THAT(
      response.answer().headers,
      ElementsAre(HttpHeader{"X-One", "a"}, HttpHeader{"X-Two", ""},
                  HttpHeader{"Transfer-Encoding", "chunked"}, HttpHeader{"X-Trailer", "t"}));
}

TEST(HttpResponse, AHeadHasNoBody) {
  HttpResponse response;
  response.reset(true);
  const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
  response.feed({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  EXPECT_EQ(response.state(), HttpResponse::State::kDone);
  EXPECT_TRUE(response.keep_alive());
}

TEST(HttpResponse, ABodyIsKeptUpToALimit) {
  HttpResponse response({.headers = false, .body = true});
  const std::string head =
      "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(2 * kKeptBodyBytes) + "\r\n\r\n";
  response.feed({reinterpret_cast<const uint8_t*>(head.data()), head.size()});
  const std::vector<uint8_t> piece(kKeptBodyBytes / 2 + 1, 'x');
  for (int i = 0; i < 3; ++i) response.feed(piece);
  EXPECT_EQ(response.answer().body.size(), kKeptBodyBytes);
  EXPECT_EQ(response.answer().body_bytes, 3 * piece.size());
}

}  // namespace
}  // namespace topspin
