// A PostgreSQL server of the test's own: a cluster in a temporary directory, reached by a Unix
// socket. Never the one that the host may run.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <pwd.h>
#include <unistd.h>

#include "tests/support/ordinary_user.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

class PostgresServer {
 public:
  PostgresServer() { std::filesystem::permissions(dir_.path(), std::filesystem::perms::all); }
  ~PostgresServer() { kill_it(); }

  /// Why there can be no server here; empty if there can.
  std::string missing() const {
    for (const char* name : {"initdb", "postgres", "psql"})
      if (program(name).empty()) return std::string("needs PostgreSQL, which has no ") + name;
    return "";
  }

  /// Makes the cluster and starts it. False if that fails; `why` has the output.
  bool start(std::string& why) {
    const Outcome made = run({program("initdb"), "-D", data(), "-A", "trust", "-U", "owner",
                              "--no-sync", "-E", "UTF8", "--locale", "C"},
                             as_server());
    why = made.err + log();
    return made.exit_code == 0 && start_again();
  }
  bool start_again() {
    server_ = std::make_unique<Process>(
        std::vector<std::string>{program("postgres"), "-D", data(), "-k", dir_.path().string(),
                                 "-c", "listen_addresses=", "-c", "fsync=off", "-c",
                                 "log_statement=all"},
        as_server());
    for (int i = 0; i < 600; ++i) {
      if (sql("SELECT 1").out == "1\n") return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }
  /// SIGKILL to all of its processes: as a power cut.
  void kill_it() {
    if (!server_) return;
    ::kill(-server_->pid(), SIGKILL);
    (void)server_->finish();
    server_.reset();
  }

  std::string address(const std::string& project = "shop",
                      const std::string& user = "owner") const {
    return "postgresql://" + user + "@/postgres?host=" + dir_.path().string() + "#" + project;
  }
  Outcome sql(const std::string& text) const {
    return run(
        {program("psql"), "-h", dir_.path().string(), "-U", "owner", "-Atqc", text, "postgres"},
        use_fetched_libraries);
  }
  /// A session that stays open: it has run `text`, and ends with the object.
  std::unique_ptr<Process> session(const std::string& text) const {
    return std::make_unique<Process>(
        std::vector<std::string>{program("psql"), "-h", dir_.path().string(), "-U", "owner", "-Atq",
                                 "-c", text, "-c", "\\echo done", "-c", "SELECT pg_sleep(600)",
                                 "postgres"},
        use_fetched_libraries);
  }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(dir_.file("log")).rdbuf();
    return text.str();
  }
  const std::filesystem::path& directory() const { return dir_.path(); }
  std::string data() const { return dir_.file("data"); }

 private:
  static std::string fetched() { return std::string(TOPSPIN_SOURCE_DIR) + "/build/tools/servers"; }
  static void use_fetched_libraries() {
    const std::string lib = fetched() + "/usr/lib/x86_64-linux-gnu";
    if (std::filesystem::exists(lib)) setenv("LD_LIBRARY_PATH", lib.c_str(), 1);
  }
  /// In the newest version's folder, or on PATH.
  static std::string program(const std::string& name) {
    std::vector<std::string> places;
    for (const std::string& root :
         {fetched() + "/usr/lib/postgresql", std::string("/usr/lib/postgresql")}) {
      std::error_code ignored;
      for (const auto& version : std::filesystem::directory_iterator(root, ignored))
        places.push_back(version.path().string() + "/bin");
    }
    std::sort(places.rbegin(), places.rend());
    std::istringstream path(std::getenv("PATH"));
    for (std::string place; std::getline(path, place, ':');) places.push_back(place);
    for (const std::string& place : places)
      if (::access((place + "/" + name).c_str(), X_OK) == 0) return place + "/" + name;
    return "";
  }
  /// PostgreSQL refuses to run as root.
  std::function<void()> as_server() const {
    return [this] {
      setpgid(0, 0);
      // A pipe that nobody empties would stop it.
      const int log = open(dir_.file("log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      if (log >= 0) dup2(log, STDERR_FILENO);
      use_fetched_libraries();
      setenv("HOME", "/tmp", 1);
      if (!become_ordinary_user(fetched())) _exit(126);
    };
  }

  TempDir dir_;
  std::unique_ptr<Process> server_;
};

}  // namespace topspin::test
