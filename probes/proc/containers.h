// Containers: which run on this host, by the names that people know them by. A container is a
// cgroup (v2) whose directory has the container's id in its name. Its names are in the files of the
// programs that started it: Docker's, Podman's and CRI-O's, containerd's, and the kubelet's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct Container {
  std::string id;                // 64 hexadecimal digits
  std::string runtime;           // "docker", "podman", "cri-o", "containerd"; empty: unknown
  std::string cgroup_directory;  // absolute
  std::string name;              // empty: only the id is known
  std::string pod;               // of Kubernetes: NAMESPACE/POD; empty: none
};

/// "web", "shop/web-7d4f9/nginx" in a pod, or the id's first 12 digits; never empty.
std::string shown_name(const Container& container);

/// Where the files are. Tests have them elsewhere.
struct ContainerPlaces {
  std::string cgroup_mount;  // of cgroup2
  std::string docker = "/var/lib/docker/containers";
  std::vector<std::string> storage = {"/var/lib/containers/storage"};  // Podman and CRI-O
  std::string containerd = "/run/containerd/io.containerd.runtime.v2.task";
  std::string kubelet = "/var/log/containers";
};

/// The directory of a container's cgroup, by its last name: "docker-ID.scope", "libpod-ID.scope",
/// "cri-containerd-ID.scope", "crio-ID.scope", or ID alone, as cgroupfs drivers name it. The
/// monitor beside a container ("conmon") is none. Pure.
std::optional<Container> container_of_cgroup(std::string_view directory_name);

/// The running containers, with all that is known of them, by name.
std::vector<Container> running_containers(const ContainerPlaces& places);

/// The container that `word` names: its name, the beginning of its id (at least 6 digits), or
/// NAMESPACE/POD, POD/NAME, NAMESPACE/POD/NAME, or POD if it has one container. kUsage if none runs
/// by that name, or more than one does; the message names those that run. Pure.
Result<Container> choose_container(std::span<const Container> running, std::string_view word);

/// Looks it up on this host. kUnsupported if cgroup2 is not mounted.
Result<Container> find_container(std::string_view word);

/// A process in the cgroup or below it; nullopt if there is none.
std::optional<int32_t> process_in_cgroup(const std::string& directory);

}  // namespace topspin
