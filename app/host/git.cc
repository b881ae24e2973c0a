#include "app/host/git.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/host/child.h"
#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr int64_t kPatienceNs = 2 * kNanosPerSecond;       // for all queries together
constexpr int64_t kLongPatienceNs = 60 * kNanosPerSecond;  // for walks through a long history
constexpr int64_t kShortPatienceNs = kNanosPerSecond / 2;  // for queries that read no files
constexpr size_t kMostBytes = 64 << 10;
constexpr size_t kMostIndexBytes = 64 << 20;  // half a million files
constexpr int kDeepestSubmodule = 8;

/// All variables that any version of `git rev-parse --local-env-vars` names, and those of a push's
/// quarantine.
constexpr std::array<const char*, 18> kLocalVariables = {"GIT_ALTERNATE_OBJECT_DIRECTORIES",
                                                         "GIT_CONFIG",
                                                         "GIT_CONFIG_PARAMETERS",
                                                         "GIT_CONFIG_COUNT",
                                                         "GIT_OBJECT_DIRECTORY",
                                                         "GIT_DIR",
                                                         "GIT_WORK_TREE",
                                                         "GIT_IMPLICIT_WORK_TREE",
                                                         "GIT_GRAFT_FILE",
                                                         "GIT_INDEX_FILE",
                                                         "GIT_NO_REPLACE_OBJECTS",
                                                         "GIT_REPLACE_REF_BASE",
                                                         "GIT_PREFIX",
                                                         "GIT_INTERNAL_SUPER_PREFIX",
                                                         "GIT_SHALLOW_FILE",
                                                         "GIT_COMMON_DIR",
                                                         "GIT_QUARANTINE_PATH",
                                                         "GIT_INTERNAL_GETTEXT_SH_SCHEME"};

/// Runs a program until `until_ns`. Returns its standard output, or nullopt if it failed, took too
/// long or does not exist. If it prints more than `most_bytes`, it is ended, and what it has
/// printed is returned.
std::optional<std::string> output_of(const std::vector<std::string>& command,
                                     const std::string& directory,
                                     const std::optional<UserIdentity>& user, int64_t until_ns,
                                     size_t most_bytes = kMostBytes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const UniqueFd output(ends[0]);
  UniqueFd write_end(ends[1]);
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  ChildSetting setting;
  setting.streams = {null.get(), write_end.get(), null.get()};
  setting.directory = directory;
  setting.environment = {{"LC_ALL", "C"},
                         {"GIT_OPTIONAL_LOCKS", "0"},
                         {"GIT_TERMINAL_PROMPT", "0"},
                         {"GIT_NO_LAZY_FETCH", "1"}};
  auto child = Child::prepare(command, user, setting);
  if (!child.ok()) return std::nullopt;
  write_end.reset();
  if (!(*child)->release().ok()) return std::nullopt;
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < most_bytes) {
    const int64_t left_ns = until_ns - monotonic_now_ns();
    if (left_ns <= 0) return std::nullopt;  // ~Child ends it
    pollfd wait{output.get(), POLLIN, 0};
    if (poll(&wait, 1, static_cast<int>(left_ns / kNanosPerMilli) + 1) <= 0) continue;
    const ssize_t got = read(output.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  if (text.size() >= most_bytes) return text;
  while (!(*child)->poll_exit()) {
    if (monotonic_now_ns() >= until_ns) return std::nullopt;
    usleep(1'000);
  }
  return *(*child)->poll_exit() == 0 ? std::optional(text) : std::nullopt;
}

/// Splits at `end`, which terminates each part.
std::vector<std::string> parts_of(const std::string& text, char end) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t at = text.find(end); at != std::string::npos; at = text.find(end, begin)) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return parts;
}

bool is_commit(std::string_view text) {
  if (text.size() != 40 && text.size() != 64) return false;
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Root runs git as the owner of the directory. Otherwise git would refuse, and the configuration
/// of another user's repository must not run programs as root.
std::optional<UserIdentity> owner_of(const std::string& directory) {
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0 || info.st_uid == 0) return std::nullopt;
  UserIdentity owner{info.st_uid, info.st_gid, "", "/nonexistent"};
  if (const passwd* entry = getpwuid(info.st_uid)) {
    owner.name = entry->pw_name;
    owner.home = entry->pw_dir;
  }
  return owner;
}

/// Adds options that keep git from running filters of the repository. A file with a different
/// timestamp is then compared unfiltered.
void add_filters(std::vector<std::string>& git, const std::string& directory,
                 const std::optional<UserIdentity>& user, int64_t until_ns) {
  std::vector<std::string> ask = git;
  ask.insert(ask.end(), {"config", "--name-only", "-z", "--get-regexp", "^filter\\."});
  const auto names = output_of(ask, directory, user, until_ns);
  if (!names) return;  // there are none, for which git returns 1
  for (const std::string& name : parts_of(*names, '\0')) {
    if (name.ends_with(".clean") || name.ends_with(".process"))
      git.insert(git.end(), {"-c", name + "="});
    if (name.ends_with(".required")) git.insert(git.end(), {"-c", name + "=false"});
  }
}

/// Checks one work tree with `git status`, and its submodules. See read_source_info().
class TreeCheck {
 public:
  TreeCheck(std::string directory, std::optional<UserIdentity> user, int64_t until_ns, int depth)
      : user_(std::move(user)), until_ns_(until_ns), depth_(depth), git_(git_without_programs()) {
    constexpr std::string_view kYes = "true\n";
    const auto answer = output_of(with({"rev-parse", "--is-inside-work-tree", "--show-toplevel"}),
                                  directory, user_, until_ns_);
    if (!answer || !answer->starts_with(kYes) || !answer->ends_with('\n')) return;
    root_ = answer->substr(kYes.size(), answer->size() - kYes.size() - 1);
    add_filters(git_, root_, user_, until_ns_);
  }

  bool exists() const { return !root_.empty(); }

  /// False if git did not answer in time.
  bool read(SourceInfo& source) {
    // git would start another git in each submodule, with the submodule's configuration. So each
    // submodule is checked like a separate tree.
    const auto text = status({});
    if (!text) return false;
    constexpr std::string_view kCommit = "# branch.oid ", kBranch = "# branch.head ";
    source.dirty = false;
    for (const std::string& line : parts_of(*text, '\0')) {
      if (line.starts_with(kCommit) && is_commit(line.substr(kCommit.size())))
        source.commit = line.substr(kCommit.size());
      else if (line.starts_with(kBranch) && line != "# branch.head (detached)")
        source.branch = line.substr(kBranch.size());
      if (!line.starts_with("#")) source.dirty = true;
    }
    if (source.commit.empty()) source.dirty.reset();  // there is no commit yet
    if (source.dirty == false) source.dirty = changes_beyond_status();
    if (source.dirty == false && modes_may_differ()) source.dirty.reset();
    return true;
  }

  /// Reads only the commit and branch, for a tree that takes too long to compare.
  void read_place(SourceInfo& source) const {
    const int64_t soon_ns = monotonic_now_ns() + kShortPatienceNs;
    const auto ask = [&](const std::vector<std::string>& words) {
      const std::string answer = output_of(with(words), root_, user_, soon_ns).value_or("");
      return answer.substr(0, answer.find('\n'));
    };
    if (const std::string commit = ask({"rev-parse", "--verify", "HEAD"}); is_commit(commit))
      source.commit = commit;
    if (!source.commit.empty()) source.branch = ask({"symbolic-ref", "--short", "-q", "HEAD"});
  }

 private:
  std::vector<std::string> with(const std::vector<std::string>& words) const {
    std::vector<std::string> command = git_;
    command.insert(command.end(), words.begin(), words.end());
    return command;
  }

  std::optional<std::string> status(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"-c", "core.ignoreStat=false", "-c", "core.trustctime=true",
                                      "-c", "core.checkStat=default"};
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(), {"--no-optional-locks", "status", "--porcelain=v2", "--branch", "-z",
                               "--untracked-files=no", "--ignore-submodules=dirty"});
    return output_of(with(words), root_, user_, until_ns_);
  }

  /// Whether git ignores modes and they differ: a file has become executable, or the file system
  /// has no modes.
  bool modes_may_differ() const {
    const auto told = output_of(with({"config", "--type=bool", "--get", "core.fileMode"}), root_,
                                user_, until_ns_);
    if (told != "false\n") return false;
    const auto text = status({"-c", "core.fileMode=true"});
    if (!text) return true;
    const std::vector<std::string> lines = parts_of(*text, '\0');
    return std::any_of(lines.begin(), lines.end(),
                       [](const std::string& line) { return !line.starts_with("#"); });
  }

  /// Whether there are changes that `git status` does not show: in submodules, and in files that
  /// the index tells git to ignore (nullopt, because these are not checked).
  std::optional<bool> changes_beyond_status() const {
    const auto index = output_of(with({"ls-files", "-v", "--stage", "-z"}), root_, user_, until_ns_,
                                 kMostIndexBytes);
    if (!index || index->size() >= kMostIndexBytes) return std::nullopt;
    std::optional<bool> changes = false;
    for (const std::string& entry : parts_of(*index, '\0')) {
      // "H 100644 <object> 0\t<path>". A lower-case letter means assumed unchanged, S skipped.
      const size_t tab = entry.find('\t');
      if (tab == std::string::npos || entry.size() < 2) return std::nullopt;
      const std::string path = root_ + "/" + entry.substr(tab + 1);
      const char tag = entry.front();
      struct stat info {};
      const bool is_submodule = entry.compare(2, 6, "160000") == 0;
      const bool is_there = (tag != 'H' || is_submodule) && lstat(path.c_str(), &info) == 0;
      // A skipped file that does not exist was left out by a sparse checkout.
      if ((tag >= 'a' && tag <= 'z') || (tag == 'S' && is_there)) changes.reset();
      if (!is_submodule || !is_there) continue;
      if (lstat((path + "/.git").c_str(), &info) != 0) continue;  // not checked out
      const std::optional<bool> below = changes_in_submodule(path);
      if (below == true) return true;
      if (!below) changes.reset();
    }
    return changes;
  }

  std::optional<bool> changes_in_submodule(const std::string& path) const {
    if (depth_ >= kDeepestSubmodule) return std::nullopt;
    TreeCheck check(path, user_, until_ns_, depth_ + 1);
    SourceInfo source;
    if (!check.exists() || check.root_ == root_ || !check.read(source)) return std::nullopt;
    return source.dirty;
  }

  std::optional<UserIdentity> user_;
  int64_t until_ns_;
  int depth_;
  std::vector<std::string> git_;
  std::string root_;
};

}  // namespace

std::vector<std::string> git_without_programs() {
  return {"git", "--no-replace-objects",    "-c", "core.fsmonitor=false",
          "-c",  "core.hooksPath=/dev/null"};
}

void forget_git_environment() {
  for (const char* name : kLocalVariables) unsetenv(name);
  // A newer git may have more of them. Run git only if there may be something to unset.
  bool others = false;
  for (char** entry = environ; *entry != nullptr; ++entry)
    others = others || std::string_view(*entry).starts_with("GIT_");
  if (!others) return;
  const std::optional<UserIdentity> user = geteuid() == 0 ? invoking_user() : std::nullopt;
  const auto names = output_of({"git", "rev-parse", "--local-env-vars"}, "/", user,
                               monotonic_now_ns() + kShortPatienceNs);
  if (!names) return;
  for (const std::string& name : parts_of(*names, '\n')) {
    if (name.starts_with("GIT_")) unsetenv(name.c_str());
  }
}

std::optional<UserIdentity> git_user(const std::string& directory,
                                     const std::optional<UserIdentity>& user) {
  if (geteuid() != 0) return std::nullopt;
  return user ? user : owner_of(directory);
}

namespace {

std::optional<std::string> ask_git(const std::string& directory,
                                   const std::optional<UserIdentity>& user, int64_t patience_ns,
                                   const std::vector<std::string>& words) {
  std::vector<std::string> command = git_without_programs();
  command.insert(command.end(), words.begin(), words.end());
  return output_of(command, directory, git_user(directory, user), monotonic_now_ns() + patience_ns);
}

/// The first line, if it is the id of a commit.
std::optional<std::string> commit_in(const std::optional<std::string>& answer) {
  if (!answer) return std::nullopt;
  std::string line = answer->substr(0, answer->find('\n'));
  return is_commit(line) ? std::optional(std::move(line)) : std::nullopt;
}

}  // namespace

std::optional<std::string> find_commit(const std::string& directory, const std::string& name,
                                       const std::optional<UserIdentity>& user) {
  if (name.starts_with("-")) return std::nullopt;
  return commit_in(ask_git(directory, user, kPatienceNs,
                           {"rev-parse", "--verify", "--quiet", name + "^{commit}"}));
}

std::optional<std::string> find_merge_base(const std::string& directory, const std::string& a,
                                           const std::string& b,
                                           const std::optional<UserIdentity>& user) {
  return commit_in(ask_git(directory, user, kLongPatienceNs, {"merge-base", "--", a, b}));
}

std::string why_no_commit(const std::string& directory, const std::string& commit,
                          const std::optional<UserIdentity>& user) {
  if (find_commit(directory, commit, user)) return {};
  if (ask_git(directory, user, kPatienceNs, {"rev-parse", "--git-dir"}))
    return "git knows no such commit, branch or tag";
  return "the plan is not in a git repository, or git is not installed";
}

SourceInfo read_source_info(const std::string& directory, const std::optional<UserIdentity>& user) {
  TreeCheck check(directory, git_user(directory, user), monotonic_now_ns() + kPatienceNs, 0);
  SourceInfo source;
  if (check.exists() && !check.read(source)) check.read_place(source);
  return source;
}

SourceQuestion::SourceQuestion(const std::string& directory,
                               const std::optional<UserIdentity>& user) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  answer_fd_.reset(ends[0]);
  const UniqueFd write_end(ends[1]);
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  const SourceInfo source = read_source_info(directory, user);
  const char dirty = !source.dirty ? '?' : *source.dirty ? '1' : '0';
  std::string text;
  for (const std::string& part : {source.commit, source.branch, std::string(1, dirty)})
    text.append(part).push_back('\0');
  (void)!write(write_end.get(), text.data(), text.size());
  _exit(0);
}

SourceQuestion::~SourceQuestion() {
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

SourceInfo SourceQuestion::answer() {
  std::string text;
  std::array<char, 4096> buffer{};
  while (answer_fd_ && text.size() < kMostBytes) {
    const ssize_t got = read(answer_fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  const std::vector<std::string> parts = parts_of(text, '\0');
  SourceInfo source;
  if (parts.size() < 3) return source;
  source.commit = parts[0];
  source.branch = parts[1];
  if (parts[2] != "?") source.dirty = parts[2] == "1";
  return source;
}

}  // namespace topspin
