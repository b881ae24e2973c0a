// ci/post-comment against a server that answers as GitHub and GitLab do: it keeps comments, and
// notes what it is asked.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

/// usage: server STATE: prints its port. STATE is a JSON file with `comments` and `code`.
constexpr const char* kServer = R"(
import http.server, json, sys
path = sys.argv[1]
class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def answer(self):
        state = json.load(open(path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN")
        state["asked"].append([self.command, self.path, token])
        result = {}
        code = state["code"]
        if code < 300 and self.command == "GET" and self.path.endswith("/user"):
            result = {"username": "bot"}
        elif code < 300 and self.command == "GET":
            page = int(self.path.split("page=")[-1])
            result = state["comments"][100 * (page - 1):100 * page]
        elif code < 300 and self.command == "POST":
            state["comments"].append({"id": 900, "body": json.loads(body)["body"],
                "user": {"login": "github-actions[bot]"}, "author": {"username": "bot"}})
        elif code < 300:
            wanted = int(self.path.split("/")[-1])
            for comment in state["comments"]:
                if comment["id"] == wanted: comment["body"] = json.loads(body)["body"]
        json.dump(state, open(path, "w"))
        text = json.dumps(result).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PATCH = do_PUT = answer
server = http.server.HTTPServer(("127.0.0.1", 0), Api)
print("port", server.server_port, "here", flush=True)
server.serve_forever()
)";

constexpr const char* kMarker = "<!-- topspin ci http -->";

class PostComment : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const char* program : {"python3", "curl", "jq"}) {
      if (test::run({"sh", "-c", std::string("command -v ") + program}).exit_code != 0)
        GTEST_SKIP() << program << " is not installed";
    }
    set({}, 200);
    std::ofstream(dir_.file("server.py")) << kServer;
    server_ = std::make_unique<Process>(
        std::vector<std::string>{"sh", "-c", "exec python3 \"$0\" \"$1\" >\"$2\"",
                                 dir_.file("server.py"), dir_.file("state"), dir_.file("port")});
    for (int i = 0; i < 2000 && port_.empty(); ++i) {
      std::ifstream file(dir_.file("port"));
      std::string word, end;
      if (!(file >> word >> port_ >> end)) port_.clear();
      usleep(10'000);
    }
    ASSERT_FALSE(port_.empty());
    std::ofstream(dir_.file("gate.md")) << kMarker << "\n## FAIL \"quoted\" \\ 100%\n";
  }
  static bool is_github() { return std::string_view(GetParam()) == "github"; }
  void set(const Json& comments, int code) const {
    std::ofstream(dir_.file("state"))
        << Json({{"comments", comments.is_null() ? Json::array() : comments},
                 {"code", code},
                 {"asked", Json::array()}});
  }
  Json state() const { return Json::parse(std::ifstream(dir_.file("state"))); }
  static Json comment(int id, const std::string& body, const std::string& author) {
    return {{"id", id},
            {"body", body},
            {"user", {{"login", author}}},
            {"author", {{"username", author}}}};
  }
  static std::string own() { return is_github() ? "github-actions[bot]" : "bot"; }
  Outcome post(const std::string& token = "secret") const {
    const std::string host = "http://127.0.0.1:" + port_;
    return test::run({TOPSPIN_SOURCE_DIR "/ci/post-comment", GetParam(), dir_.file("gate.md")},
                     [&] {
                       for (const auto& [name, value] :
                            std::map<std::string, std::string>{{"GH_TOKEN", token},
                                                               {"TOPSPIN_COMMENT_TOKEN", token},
                                                               {"GITHUB_API_URL", host},
                                                               {"CI_API_V4_URL", host},
                                                               {"GITHUB_REPOSITORY", "o/r"},
                                                               {"PULL_REQUEST", "7"},
                                                               {"CI_PROJECT_ID", "5"},
                                                               {"CI_MERGE_REQUEST_IID", "7"},
                                                               {"http_proxy", ""},
                                                               {"no_proxy", "*"}})
                         setenv(name.c_str(), value.c_str(), 1);
                     });
  }

  TempDir dir_;
  std::unique_ptr<Process> server_;
  std::string port_;
};

TEST_P(PostComment, TheFirstJobPostsAndTheNextOnesEdit) {
  const Outcome first = post();
  EXPECT_EQ(first.exit_code, 0) << first.err;
  ASSERT_EQ(state()["comments"].size(), 1u) << first.err;
  EXPECT_THAT(state()["comments"][0]["body"].get<std::string>(),
              HasSubstr("FAIL \"quoted\" \\ 100%"));
  std::ofstream(dir_.file("gate.md")) << kMarker << "\n## PASS\n";
  const Outcome second = post();
  EXPECT_EQ(second.exit_code, 0) << second.err;
  ASSERT_EQ(state()["comments"].size(), 1u) << second.err;
  EXPECT_THAT(state()["comments"][0]["body"].get<std::string>(), HasSubstr("PASS"));
  for (const Json& asked : state()["asked"])
    EXPECT_THAT(asked[2].get<std::string>(), testing::EndsWith("secret"));
}

TEST_P(PostComment, OnlyItsOwnCommentOfThisPlanIsEdited) {
  Json comments = Json::array();
  for (int id = 1; id <= 120; ++id) comments.push_back(comment(id, "hello", "someone"));
  comments.push_back(comment(121, std::string(kMarker) + "\nplanted", "someone"));
  comments.push_back(comment(122, "<!-- topspin ci other -->\nx", own()));
  comments.push_back(comment(123, std::string("quoted ") + kMarker, own()));
  comments.push_back(comment(124, std::string(kMarker) + "\nold", own()));
  set(comments, 200);
  const Outcome edited = post();
  EXPECT_EQ(edited.exit_code, 0) << edited.err;
  Json after = state()["comments"];
  ASSERT_EQ(after.size(), comments.size());
  EXPECT_THAT(after[123]["body"].get<std::string>(), HasSubstr("FAIL"));
  after[123] = comments[123];
  EXPECT_EQ(after, comments) << "all others stay";
}

TEST_P(PostComment, AForkWithoutAnyRightIsToldAndDoesNotFail) {
  const Outcome none = post("");
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("no token may comment here"));
  set({}, 403);
  const Outcome refused = post();
  EXPECT_EQ(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("cannot comment (GET gave 403)"));
  std::filesystem::remove(dir_.file("gate.md"));
  EXPECT_EQ(post().exit_code, 0) << "a job without a verdict";
}

INSTANTIATE_TEST_SUITE_P(Of, PostComment, testing::Values("github", "gitlab"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace topspin::test
