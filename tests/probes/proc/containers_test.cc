// Containers as their runtimes lay out cgroups and files, in a folder of the test.
#include "probes/proc/containers.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string id_of(char digit) { return std::string(64, digit); }

TEST(ContainerOfCgroup, KnowsTheNamesThatRuntimesGive) {
  const std::string id = id_of('a');
  const auto runtime_of = [](const std::string& name) {
    const auto container = container_of_cgroup(name);
    return container ? container->runtime + ":" + container->id.substr(0, 2) : "none";
  };
  EXPECT_EQ(runtime_of("docker-" + id + ".scope"), "docker:aa");
  EXPECT_EQ(runtime_of("libpod-" + id + ".scope"), "podman:aa");
  EXPECT_EQ(runtime_of("libpod-" + id), "podman:aa");  // cgroupfs
  EXPECT_EQ(runtime_of("cri-containerd-" + id + ".scope"), "containerd:aa");
  EXPECT_EQ(runtime_of("crio-" + id + ".scope"), "cri-o:aa");
  EXPECT_EQ(runtime_of(id), ":aa");
  EXPECT_EQ(runtime_of("libpod-conmon-" + id + ".scope"), "none");
  EXPECT_EQ(runtime_of("crio-conmon-" + id + ".scope"), "none");
  EXPECT_EQ(runtime_of("docker-" + id.substr(1) + ".scope"), "none");
  EXPECT_EQ(runtime_of("nginx.service"), "none");
  EXPECT_EQ(runtime_of("kubepods-burstable-pod1234.slice"), "none");
}

/// The cgroups and the files of a host.
class Host {
 public:
  Host() {
    places_.cgroup_mount = dir_.file("cgroup");
    places_.docker = dir_.file("docker");
    places_.storage = {dir_.file("storage")};
    places_.containerd = dir_.file("containerd");
    places_.kubelet = dir_.file("kubelet");
  }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = dir_.file(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void cgroup(const std::string& path, int pid) const {
    write("cgroup/" + path + "/cgroup.procs", pid > 0 ? std::to_string(pid) + "\n" : "");
  }
  std::vector<Container> running() const { return running_containers(places_); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Container& one : running())
      names.push_back(fmt::format("{} {} {}", shown_name(one), one.runtime, one.id.substr(0, 2)));
    return names;
  }

 private:
  test::TempDir dir_;
  ContainerPlaces places_;
};

TEST(RunningContainers, HaveTheNamesOfTheirRuntimesAndPods) {
  Host host;
  // Docker by systemd and by cgroupfs.
  host.cgroup("system.slice/docker-" + id_of('a') + ".scope", 11);
  host.write("docker/" + id_of('a') + "/config.v2.json", R"({"Name": "/web", "State": {}})");
  host.cgroup("docker/" + id_of('b'), 12);
  host.write("docker/" + id_of('b') + "/config.v2.json", R"({"Name": "/db"})");
  // Podman: its processes are one level below.
  host.cgroup("machine.slice/libpod-" + id_of('c') + ".scope", 0);
  host.cgroup("machine.slice/libpod-" + id_of('c') + ".scope/container", 13);
  host.cgroup("machine.slice/libpod-conmon-" + id_of('c') + ".scope", 14);
  host.write("storage/overlay-containers/containers.json",
             fmt::format(R"([{{"id": "{}", "names": ["cache"]}}, {{"id": "{}"}}, 7])", id_of('c'),
                         id_of('9')));
  // containerd by nerdctl, and in a pod.
  host.cgroup("system.slice/nerdctl-1/" + id_of('d'), 15);
  host.write("containerd/default/" + id_of('d') + "/config.json",
             R"({"annotations": {"nerdctl/name": "queue"}})");
  host.cgroup("kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id_of('e') + ".scope", 16);
  host.write("kubelet/web-7d4f9_shop_nginx-" + id_of('e') + ".log", "");
  // Ended; and of nobody who left a name.
  host.cgroup("system.slice/docker-" + id_of('f') + ".scope", 0);
  host.write("docker/" + id_of('f') + "/config.v2.json", R"({"Name": "/gone"})");
  host.cgroup("any/" + id_of('1'), 17);
  EXPECT_THAT(host.names(), ElementsAre("111111111111  11", "cache podman cc", "db docker bb",
                                        "queue containerd dd", "shop/web-7d4f9/nginx containerd ee",
                                        "web docker aa"));
  EXPECT_THAT(host.running()[1].cgroup_directory, HasSubstr("libpod-ccc"));
}

TEST(RunningContainers, FilesThatAreNoneHarmNothing) {
  Host host;
  host.cgroup("docker/" + id_of('a'), 11);
  for (const char* text : {"", "{", "[]", "7", R"({"Name": 7})", R"({"Name": ""})", "\xff\xfe"}) {
    host.write("docker/" + id_of('a') + "/config.v2.json", text);
    host.write("storage/overlay-containers/containers.json", text);
    host.write("containerd/default/" + id_of('a') + "/config.json", text);
    host.write("kubelet/_-" + id_of('a') + ".log", text);
    EXPECT_EQ(host.names().size(), 1u) << text;
    EXPECT_EQ(host.names()[0].substr(0, 12), "aaaaaaaaaaaa") << text;
  }
}

TEST(ChooseContainer, ByNameIdOrPod) {
  const auto make = [](char digit, const std::string& name, const std::string& pod = "") {
    Container container;
    container.id = id_of(digit);
    container.name = name;
    container.pod = pod;
    return container;
  };
  const std::vector<Container> running = {
      make('a', "web"), make('b', "db"), make('c', "nginx", "shop/web-7"),
      make('d', "proxy", "shop/web-8"), make('e', "nginx", "shop/web-8")};
  const auto chosen = [&](const std::string& word) {
    const auto found = choose_container(running, word);
    return found.ok() ? found->id.substr(0, 1) : found.error().message;
  };
  EXPECT_EQ(chosen("web"), "a");
  EXPECT_EQ(chosen("bbbbbb"), "b");
  EXPECT_EQ(chosen(id_of('b')), "b");
  EXPECT_EQ(chosen("web-7"), "c");
  EXPECT_EQ(chosen("shop/web-7"), "c");
  EXPECT_EQ(chosen("web-8/nginx"), "e");
  EXPECT_EQ(chosen("shop/web-8/proxy"), "d");
  EXPECT_THAT(chosen("bbbbb"), HasSubstr("no container bbbbb runs"));  // too short
  EXPECT_THAT(chosen("web-8"), HasSubstr("2 containers are called web-8: shop/web-8/proxy (ddd"));
  EXPECT_THAT(chosen("nginx"), HasSubstr("2 containers are called nginx"));
  EXPECT_THAT(chosen("wed"), HasSubstr("did you mean web? these do: web (aaaaaaaaaaaa), db"));
  EXPECT_THAT(chosen("\x1b[2J"), testing::Not(HasSubstr("\x1b")));
  const auto none = choose_container({}, "web");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kUsage);
  EXPECT_THAT(none.error().message, HasSubstr("no container runs on this host"));
}

}  // namespace
}  // namespace topspin
