#include "probes/proc/containers.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/base/text.h"
#include "probes/proc/subject.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kIdDigits = 64;
constexpr size_t kShortId = 12;
constexpr size_t kFewestDigits = 6;
constexpr int kDeepestCgroup = 16;
constexpr uintmax_t kLargestFile = uintmax_t{16} << 20;
constexpr size_t kMostListed = 10;

struct Prefix {
  std::string_view text;
  std::string_view runtime;
};
constexpr std::array<Prefix, 4> kPrefixes = {{{"docker-", "docker"},
                                              {"libpod-", "podman"},
                                              {"cri-containerd-", "containerd"},
                                              {"crio-", "cri-o"}}};

bool is_hex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_id(std::string_view text) { return text.size() == kIdDigits && is_hex(text); }

/// The file as JSON; null if there is none, or it is too large or no JSON.
json read_json(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) > kLargestFile || error)
    return nullptr;
  std::ifstream file(path, std::ios::binary);
  json value = json::parse(file, nullptr, false);
  return value.is_discarded() ? nullptr : value;
}

std::string text_in(const json& value, const char* key) {
  const auto found = value.is_object() ? value.find(key) : value.end();
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

void add_docker_name(const ContainerPlaces& places, Container& container) {
  const json file = read_json(fs::path(places.docker) / container.id / "config.v2.json");
  const std::string name = text_in(file, "Name");  // "/web"
  if (name.empty()) return;
  container.name = name.substr(name.starts_with('/') ? 1 : 0);
  container.runtime = "docker";
}

void add_stored_names(const fs::path& file, std::map<std::string, std::string>& names) {
  const json containers = read_json(file);
  if (!containers.is_array()) return;
  for (const json& one : containers) {
    if (!one.is_object()) continue;
    const auto list = one.find("names");
    if (list == one.end() || !list->is_array() || list->empty() || !list->front().is_string())
      continue;
    names[text_in(one, "id")] = list->front().get<std::string>();
  }
}

/// The names that Podman and CRI-O keep, by id. Each storage driver has a folder:
/// overlay-containers, vfs-containers.
std::map<std::string, std::string> stored_names(const ContainerPlaces& places) {
  std::map<std::string, std::string> names;
  for (const std::string& storage : places.storage) {
    std::error_code error;
    for (const fs::directory_entry& folder : fs::directory_iterator(storage, error)) {
      if (folder.path().filename().string().ends_with("-containers"))
        add_stored_names(folder.path() / "containers.json", names);
    }
  }
  return names;
}

/// containerd: each of its namespaces ("default", "moby", "k8s.io") has a bundle for each task.
void add_containerd_name(const ContainerPlaces& places, Container& container) {
  std::error_code error;
  for (const fs::directory_entry& space : fs::directory_iterator(places.containerd, error)) {
    const json bundle = read_json(space.path() / container.id / "config.json");
    if (!bundle.is_object()) continue;
    if (container.runtime.empty()) container.runtime = "containerd";
    const auto notes = bundle.find("annotations");
    if (notes == bundle.end()) return;
    if (const std::string name = text_in(*notes, "nerdctl/name"); !name.empty())
      container.name = name;
    return;
  }
}

/// The kubelet has a link POD_NAMESPACE_CONTAINER-ID.log for each container of a pod.
void add_kubelet_names(const ContainerPlaces& places, std::map<std::string, Container*>& by_id) {
  std::error_code error;
  for (const fs::directory_entry& link : fs::directory_iterator(places.kubelet, error)) {
    const std::string file = link.path().stem().string();
    const size_t dash = file.rfind('-');
    if (dash == std::string::npos) continue;
    const auto found = by_id.find(file.substr(dash + 1));
    const size_t first = file.find('_');
    const size_t second = first == std::string::npos ? first : file.find('_', first + 1);
    if (found == by_id.end() || second == std::string::npos || second > dash) continue;
    found->second->pod =
        fmt::format("{}/{}", file.substr(first + 1, second - first - 1), file.substr(0, first));
    found->second->name = file.substr(second + 1, dash - second - 1);
  }
}

void find_cgroups(const fs::path& directory, int depth, std::vector<Container>& into) {
  if (depth == kDeepestCgroup) return;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (!entry.is_directory(ignored) || entry.is_symlink(ignored)) continue;
    auto container = container_of_cgroup(entry.path().filename().string());
    if (!container) {
      find_cgroups(entry.path(), depth + 1, into);
      continue;
    }
    container->cgroup_directory = entry.path().string();
    // An empty cgroup may be left of a container that has ended.
    if (process_in_cgroup(container->cgroup_directory)) into.push_back(std::move(*container));
  }
}

std::string pod_name(const Container& container) {
  return container.pod.substr(container.pod.find('/') + 1);
}

bool is_called(const Container& container, std::string_view word) {
  if (word == container.name || word == container.id) return true;
  if (word.size() >= kFewestDigits && is_hex(word) && container.id.starts_with(word)) return true;
  if (container.pod.empty()) return false;
  return word == container.pod || word == pod_name(container) ||
         word == fmt::format("{}/{}", container.pod, container.name) ||
         word == fmt::format("{}/{}", pod_name(container), container.name);
}

std::string listed(std::span<const Container> containers) {
  std::vector<std::string> names;
  for (const Container& container : containers.first(std::min(containers.size(), kMostListed)))
    names.push_back(fmt::format("{} ({})", sanitize_for_terminal(shown_name(container)),
                                container.id.substr(0, kShortId)));
  if (containers.size() > kMostListed)
    names.push_back(fmt::format("{} more", containers.size() - kMostListed));
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string shown_name(const Container& container) {
  if (container.name.empty()) return container.id.substr(0, kShortId);
  return container.pod.empty() ? container.name
                               : fmt::format("{}/{}", container.pod, container.name);
}

std::optional<Container> container_of_cgroup(std::string_view directory_name) {
  std::string_view rest = directory_name;
  if (rest.ends_with(".scope")) rest.remove_suffix(std::string_view(".scope").size());
  Container container;
  for (const auto& [text, runtime] : kPrefixes) {
    if (!rest.starts_with(text)) continue;
    rest.remove_prefix(text.size());
    container.runtime = runtime;
    break;
  }
  if (!is_id(rest)) return std::nullopt;
  container.id = rest;
  return container;
}

std::vector<Container> running_containers(const ContainerPlaces& places) {
  std::vector<Container> running;
  find_cgroups(places.cgroup_mount, 0, running);
  const std::map<std::string, std::string> stored = stored_names(places);
  std::map<std::string, Container*> by_id;
  for (Container& container : running) {
    by_id[container.id] = &container;
    add_docker_name(places, container);
    if (container.name.empty()) add_containerd_name(places, container);
    const auto found = stored.find(container.id);
    if (container.name.empty() && found != stored.end()) container.name = found->second;
  }
  add_kubelet_names(places, by_id);
  std::sort(running.begin(), running.end(), [](const Container& a, const Container& b) {
    return std::pair(shown_name(a), a.id) < std::pair(shown_name(b), b.id);
  });
  return running;
}

Result<Container> choose_container(std::span<const Container> running, std::string_view word) {
  std::vector<Container> called;
  for (const Container& container : running) {
    if (is_called(container, word)) called.push_back(container);
  }
  if (called.size() == 1) return std::move(called.front());
  const std::string shown = sanitize_for_terminal(word);
  if (!called.empty())
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} containers are called {}: {}; give more of the name, or the "
                                  "id",
                                  called.size(), shown, listed(called)));
  if (running.empty())
    return make_error(ErrorCode::kUsage,
                      fmt::format("no container {}: no container runs on this host, or its cgroup "
                                  "cannot be seen from here; --cgroup and --pid name any subject",
                                  shown));
  std::vector<std::string> names;
  for (const Container& container : running) names.push_back(shown_name(container));
  const auto near = nearest_word(word, std::vector<std::string_view>(names.begin(), names.end()));
  return make_error(
      ErrorCode::kUsage,
      fmt::format("no container {} runs; {}these do: {}", shown,
                  near ? fmt::format("did you mean {}? ", sanitize_for_terminal(*near)) : "",
                  listed(running)));
}

Result<Container> find_container(std::string_view word) {
  ContainerPlaces places;
  const auto mount = cgroup2_mount("/proc");
  if (!mount)
    return make_error(ErrorCode::kUnsupported,
                      "cannot find containers: cgroup2 is not mounted; use --pid and --netns");
  places.cgroup_mount = *mount;
  // Podman without root keeps its containers in its user's home.
  for (const char* variable : {"XDG_DATA_HOME", "HOME"}) {
    const char* home = std::getenv(variable);
    if (home == nullptr || *home == '\0') continue;
    const bool is_home = std::string_view(variable) == "HOME";
    places.storage.push_back(
        fmt::format("{}{}/containers/storage", home, is_home ? "/.local/share" : ""));
  }
  return choose_container(running_containers(places), word);
}

std::optional<int32_t> process_in_cgroup(const std::string& directory) {
  std::ifstream file(directory + "/cgroup.procs");
  for (int32_t pid = 0; file >> pid;) {
    if (pid > 0) return pid;  // 0: a process of another PID namespace
  }
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (!entry.is_directory(ignored) || entry.is_symlink(ignored)) continue;
    if (const auto below = process_in_cgroup(entry.path().string())) return below;
  }
  return std::nullopt;
}

}  // namespace topspin
