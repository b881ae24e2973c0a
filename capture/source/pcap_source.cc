// The parts that use libpcap: files that the other readers leave, live interfaces, filters, names.
// The only file that includes pcap.h.
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/source/packet_source.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

struct PcapCloser {
  void operator()(pcap_t* pcap) const { pcap_close(pcap); }
};
using PcapHandle = std::unique_ptr<pcap_t, PcapCloser>;

/// Sources are opened with nanosecond precision, so tv_usec holds nanoseconds. Seconds of classic
/// pcap are unsigned, although libpcap reads them as signed. Invalid stamps saturate.
int64_t stamp_ns(const timeval& t) {
  int64_t seconds = t.tv_sec;
  if (seconds < 0 && seconds >= INT32_MIN) seconds += int64_t{1} << 32;
  int64_t ns = 0;
  int64_t fraction_ns = t.tv_usec;
  if (fraction_ns < 0 || fraction_ns >= kNanosPerSecond) fraction_ns = kNanosPerSecond - 1;
  if (__builtin_mul_overflow(seconds, kNanosPerSecond, &ns) ||
      __builtin_add_overflow(ns, fraction_ns, &ns)) {
    return seconds < 0 ? 0 : INT64_MAX;
  }
  return ns;
}

/// The callback of pcap_dispatch: passes each packet on as a PacketView.
struct Relay {
  PacketVisitor visit;
  void* context;
  int packets = 0;

  static void callback(u_char* user, const pcap_pkthdr* header, const u_char* bytes) {
    auto* relay = reinterpret_cast<Relay*>(user);
    ++relay->packets;
    relay->visit(relay->context, {stamp_ns(header->ts), bytes, header->caplen, header->len});
  }
};

struct FilterPrograms {
  FilterPrograms() = default;
  FilterPrograms(const FilterPrograms&) = delete;
  FilterPrograms& operator=(const FilterPrograms&) = delete;
  ~FilterPrograms() {
    pcap_freecode(&plain);
    if (tagged) pcap_freecode(&*tagged);
  }
  bpf_program plain{};
  std::optional<bpf_program> tagged;  // the same behind `vlan`
};
using SharedPrograms = std::shared_ptr<const FilterPrograms>;

class CompiledFilter final : public PacketFilter {
 public:
  explicit CompiledFilter(SharedPrograms programs) : programs_(std::move(programs)) {}

  bool matches(const PacketView& packet) const override { return run(programs_->plain, packet); }

  bool matches_but_for_tag(const PacketView& packet) const override {
    if (!programs_->tagged || packet.captured < 14) return false;
    const int type = packet.bytes[12] << 8 | packet.bytes[13];
    return (type == 0x8100 || type == 0x88a8 || type == 0x9100) && run(*programs_->tagged, packet);
  }

 private:
  static bool run(const bpf_program& program, const PacketView& packet) {
    pcap_pkthdr header{};
    header.caplen = packet.captured;
    header.len = packet.length;
    return pcap_offline_filter(&program, &header, packet.bytes) != 0;
  }

  SharedPrograms programs_;
};

Error bad_filter(const std::string& expression, const char* why) {
  // The expression may come from a file and have any length.
  constexpr size_t kMostShown = 200;
  const std::string shown =
      expression.size() <= kMostShown ? expression : expression.substr(0, kMostShown) + "...";
  return make_error(ErrorCode::kUsage, fmt::format("cannot use the filter '{}': {} (see "
                                                   "pcap-filter(7))",
                                                   shown, why));
}

Result<SharedPrograms> compile_programs(const std::string& expression, int dlt, int snaplen) {
  PcapHandle pcap(pcap_open_dead(dlt, snaplen));
  CHECK(pcap != nullptr);
  const auto programs = std::make_shared<FilterPrograms>();
  if (pcap_compile(pcap.get(), &programs->plain, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) !=
      0) {
    return bad_filter(expression, pcap_geterr(pcap.get()));
  }
  if (dlt == DLT_EN10MB && !expression.empty() && expression.find("vlan") == std::string::npos) {
    programs->tagged.emplace();
    const std::string behind = "vlan and (" + expression + ")";
    if (pcap_compile(pcap.get(), &*programs->tagged, behind.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
      programs->tagged.reset();
  }
  return SharedPrograms(programs);
}

/// A filter with names, compiled for each link type.
struct NamedFilter {
  std::string expression;
  std::map<int, Result<SharedPrograms>> programs;
};

/// Set once, before there are threads.
NamedFilter& named_filter() {
  static NamedFilter filter;
  return filter;
}

Result<SharedPrograms> programs_of(const std::string& expression, int dlt, int snaplen) {
  const NamedFilter& named = named_filter();
  if (!expression.empty() && named.expression == expression) {
    if (const auto found = named.programs.find(dlt); found != named.programs.end())
      return found->second;
  }
  return compile_programs(expression, dlt, snaplen);
}

/// Whether libpcap may take a word for a name: it has a letter and is no number, or has too many
/// points for an address.
bool is_like_a_name(std::string_view word) {
  if (std::count(word.begin(), word.end(), '.') > 3) return true;
  if (word.starts_with("0x")) word.remove_prefix(2);
  const bool is_hex = std::all_of(word.begin(), word.end(), [](char c) {
    return std::isxdigit(static_cast<unsigned char>(c)) != 0;
  });
  const bool begins_with_digit = !word.empty() && word.front() >= '0' && word.front() <= '9';
  if (is_hex && begins_with_digit) return false;  // also a part of an IPv6 or MAC address
  return std::any_of(word.begin(), word.end(),
                     [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
}

/// Whether a word of `filter` may be a name: it is none of the words that say most. It does no harm
/// to take a rarer keyword for a name.
bool may_have_names(std::string_view filter) {
  constexpr std::array<std::string_view, 35> kKeywords = {
      "and",   "or",    "not",  "host", "net",   "mask",    "port",     "portrange", "src",
      "dst",   "tcp",   "udp",  "icmp", "icmp6", "ip",      "ip6",      "arp",       "sctp",
      "proto", "ether", "vlan", "mpls", "less",  "greater", "len",      "broadcast", "multicast",
      "gre",   "esp",   "ah",   "igmp", "rarp",  "inbound", "outbound", "pppoes"};
  const auto is_of_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
  };
  for (size_t at = 0; at < filter.size();) {
    const auto begin = filter.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = std::find_if_not(begin, filter.end(), is_of_word);
    const std::string_view word = filter.substr(at, static_cast<size_t>(end - begin));
    const bool is_escaped = at > 0 && filter[at - 1] == '\\';  // a name, whatever it says
    at += std::max<size_t>(word.size(), 1);
    if (is_like_a_name(word) &&
        (is_escaped || std::find(kKeywords.begin(), kKeywords.end(), word) == kKeywords.end()))
      return true;
  }
  return false;
}

ssize_t read_stream(void* cookie, char* buffer, size_t size) {
  auto* stream = static_cast<ByteStream*>(cookie);
  auto got = stream->read({reinterpret_cast<uint8_t*>(buffer), size});
  if (!got.ok()) {
    errno = got.error().os_errno != 0 ? got.error().os_errno : EIO;
    return -1;
  }
  return static_cast<ssize_t>(*got);
}

class LibpcapFile final : public FileSource {
 public:
  LibpcapFile(std::unique_ptr<ByteStream> stream, PcapHandle pcap)
      : stream_(std::move(stream)), pcap_(std::move(pcap)) {}

  LinkType link_type() const override { return static_cast<LinkType>(pcap_datalink(pcap_.get())); }

  Result<StepOutcome> read(PacketVisitor visit, void* context) override {
    constexpr int kPacketsAtATime = 4096;
    Relay relay{visit, context};
    const int n = pcap_dispatch(pcap_.get(), kPacketsAtATime, Relay::callback,
                                reinterpret_cast<u_char*>(&relay));
    if (n > 0) return StepOutcome::kMore;
    if (n == 0) return StepOutcome::kEnd;
    return make_error(ErrorCode::kInput, fmt::format("{}: {}; what came before it counts",
                                                     stream_->name(), pcap_geterr(pcap_.get())));
  }

 private:
  std::unique_ptr<ByteStream> stream_;  // outlives pcap_, which reads from it
  PcapHandle pcap_;
};

Status set_filter(pcap_t* pcap, const std::string& filter) {
  // The family of DLT_NULL is in the writer's byte order. In the other one it is as in DLT_LOOP.
  const int dlt = pcap_datalink(pcap);
  const int as = dlt == DLT_NULL && pcap_is_swapped(pcap) != 0 ? DLT_LOOP : dlt;
  TOPSPIN_ASSIGN(const SharedPrograms programs, programs_of(filter, as, pcap_snapshot(pcap)));
  bpf_program program = programs->plain;  // libpcap copies what it points to
  if (pcap_setfilter(pcap, &program) != 0) return bad_filter(filter, pcap_geterr(pcap));
  return {};
}

Result<std::unique_ptr<FileSource>> open_libpcap_file(std::unique_ptr<ByteStream> stream,
                                                      const std::string& filter) {
  FILE* file = fopencookie(stream.get(), "r", {read_stream, nullptr, nullptr, nullptr});
  if (file == nullptr) {
    return make_error(ErrorCode::kInternal, "cannot open a stream: out of memory", errno);
  }
  char error[PCAP_ERRBUF_SIZE] = "";
  PcapHandle pcap(
      pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, error));
  if (pcap == nullptr) {
    fclose(file);
    return make_error(ErrorCode::kInput,
                      fmt::format("cannot read {} as a capture: {}", stream->name(), error));
  }
  const int dlt = pcap_datalink(pcap.get());
  if (!is_supported_link_type(dlt)) {
    Error unsupported = unsupported_link_type(dlt, stream->name());
    return unsupported;
  }
  if (!filter.empty()) {
    TOPSPIN_TRY(set_filter(pcap.get(), filter));
  }
  return std::unique_ptr<FileSource>(
      std::make_unique<LibpcapFile>(std::move(stream), std::move(pcap)));
}

/// What an interface and its driver have dropped: the numbers that pcap_stats() reads too, which
/// opens their files each time.
class InterfaceDrops {
 public:
  explicit InterfaceDrops(const std::string& interface) {
    constexpr std::array kNames = {"rx_missed_errors", "rx_fifo_errors"};
    for (size_t i = 0; i < files_.size(); ++i) {
      const std::string path =
          fmt::format("/sys/class/net/{}/statistics/{}", interface, kNames.at(i));
      files_.at(i).reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    }
    (void)take();
  }

  /// Since the last call; 0 if the interface has no such numbers (`any`) or is gone.
  uint64_t take() {
    uint64_t now = 0;
    for (const UniqueFd& file : files_) {
      std::array<char, 32> text{};
      const ssize_t length = file ? ::pread(file.get(), text.data(), text.size(), 0) : -1;
      uint64_t drops = 0;
      if (length > 0) std::from_chars(text.data(), text.data() + length, drops);
      now += drops;
    }
    const uint64_t before = std::exchange(seen_, std::max(seen_, now));
    return seen_ - before;
  }

 private:
  std::array<UniqueFd, 2> files_;
  uint64_t seen_ = 0;
};

class LibpcapLive final : public LiveSource {
 public:
  LibpcapLive(PcapHandle pcap, const std::string& interface)
      : pcap_(std::move(pcap)),
        fd_(pcap_get_selectable_fd(pcap_.get())),
        interface_drops_(interface) {}

  LinkType link_type() const override { return static_cast<LinkType>(pcap_datalink(pcap_.get())); }

  Result<int> drain(PacketVisitor visit, void* context, int packets_max) override {
    Relay relay{visit, context};
    const int n =
        pcap_dispatch(pcap_.get(), packets_max, Relay::callback, reinterpret_cast<u_char*>(&relay));
    if (n >= 0) return relay.packets;
    return make_error(ErrorCode::kInternal, pcap_geterr(pcap_.get()));
  }

  bool wait(int timeout_ms, int wake_fd) override {
    std::array<pollfd, 2> ready{{{fd_, POLLIN, 0}, {wake_fd, POLLIN, 0}}};
    poll(ready.data(), ready.size(), timeout_ms);  // the next drain reports an error
    return ready[1].revents != 0;
  }

  CaptureLosses take_losses() override {
    CaptureLosses losses;
    // The kernel's counters begin at 0 again when they are read, and nobody else reads them.
    tpacket_stats_u counted{};
    socklen_t length = sizeof counted;
    if (::getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &counted, &length) == 0)
      losses.kernel_drops = counted.stats1.tp_drops;
    losses.interface_drops = interface_drops_.take();
    return losses;
  }

 private:
  PcapHandle pcap_;
  int fd_;
  InterfaceDrops interface_drops_;
};

/// "; did you mean eth0?", or nothing.
std::string meant_interface(const std::string& name) {
  const auto interfaces = list_interfaces();
  if (!interfaces.ok()) return {};
  std::vector<std::string_view> names;
  for (const InterfaceInfo& one : *interfaces) names.push_back(one.name);
  return did_you_mean(name, names);
}

Error open_failure(const std::string& interface, int status, const char* detail) {
  switch (status) {
    case PCAP_ERROR_PERM_DENIED:
    case PCAP_ERROR_PROMISC_PERM_DENIED:
      return make_error(ErrorCode::kPermission,
                        fmt::format("cannot open {}: needs CAP_NET_RAW; run with sudo, or `sudo "
                                    "setcap cap_net_raw+ep` on the program",
                                    interface),
                        EPERM);
    case PCAP_ERROR_NO_SUCH_DEVICE:
      return make_error(ErrorCode::kUsage,
                        fmt::format("no such interface: {}{} (topspin -D lists the interfaces)",
                                    interface, meant_interface(interface)),
                        ENODEV);
    case PCAP_ERROR_IFACE_NOT_UP:
      return make_error(ErrorCode::kUsage,
                        fmt::format("the interface {0} is down; `ip link set {0} up`", interface),
                        ENETDOWN);
    default:
      return make_error(ErrorCode::kUnsupported,
                        fmt::format("cannot open {}: {}", interface,
                                    *detail != '\0' ? detail : pcap_statustostr(status)));
  }
}

}  // namespace

Result<std::unique_ptr<PacketFilter>> PacketFilter::compile(const std::string& expression, int dlt,
                                                            int snaplen) {
  TOPSPIN_ASSIGN(SharedPrograms programs, programs_of(expression, dlt, snaplen));
  return std::unique_ptr<PacketFilter>(std::make_unique<CompiledFilter>(std::move(programs)));
}

std::string link_type_name(int dlt) {
  const char* name = pcap_datalink_val_to_name(dlt);
  return name != nullptr ? name : "unknown";
}

Error unsupported_link_type(int dlt, const std::string& name) {
  return make_error(ErrorCode::kInput, fmt::format("{}: unsupported link type {} ({})", name, dlt,
                                                   link_type_name(dlt)));
}

Result<std::unique_ptr<FileSource>> open_file_source(const std::string& path,
                                                     const std::string& filter, FileReader reader,
                                                     const std::atomic<bool>* stop) {
  TOPSPIN_ASSIGN(auto stream, ByteStream::open(path, stop));
  if (reader != FileReader::kLibpcap) {
    TOPSPIN_ASSIGN(auto plain, open_pcap_file(stream, filter, reader == FileReader::kMapped));
    if (plain != nullptr) return plain;
    TOPSPIN_ASSIGN(auto sections, open_pcapng_file(stream, filter, reader == FileReader::kMapped));
    if (sections != nullptr) return sections;
  }
  return open_libpcap_file(std::move(stream), filter);
}

Result<std::unique_ptr<LiveSource>> LiveSource::open(const LiveOptions& options, int snaplen) {
  // Blocks of 256 KiB. At 350,000 packets per second of 192 bytes, the ring holds a stall of 300
  // ms.
  constexpr int64_t kRingBytes = 32 << 20;
  const std::string& interface = options.interface;
  char error[PCAP_ERRBUF_SIZE] = "";
  PcapHandle pcap(pcap_create(interface.c_str(), error));
  if (pcap == nullptr) return open_failure(interface, PCAP_ERROR, error);
  const int64_t ring_bytes = options.ring_bytes > 0 ? options.ring_bytes : kRingBytes;
  pcap_set_snaplen(pcap.get(), snaplen);
  pcap_set_promisc(pcap.get(), options.promiscuous ? 1 : 0);
  pcap_set_timeout(pcap.get(), kBlockTimeoutMs);
  pcap_set_immediate_mode(pcap.get(), 0);
  pcap_set_buffer_size(pcap.get(), static_cast<int>(std::min<int64_t>(ring_bytes, INT32_MAX)));
  pcap_set_tstamp_precision(pcap.get(), PCAP_TSTAMP_PRECISION_NANO);
  const int status = pcap_activate(pcap.get());  // above 0: a warning
  if (status < 0) {
    const bool has_detail = status == PCAP_ERROR || status == PCAP_ERROR_NO_SUCH_DEVICE;
    return open_failure(interface, status, has_detail ? pcap_geterr(pcap.get()) : "");
  }
  if (pcap_get_tstamp_precision(pcap.get()) != PCAP_TSTAMP_PRECISION_NANO) {
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("cannot open {}: no nanosecond stamps here", interface));
  }
  // On `any`, libpcap puts its own header before each packet. Its second version has the
  // interface's number, but no VLAN tag.
  if (pcap_datalink(pcap.get()) == DLT_LINUX_SLL && !options.keep_vlan_tags) {
    pcap_set_datalink(pcap.get(), DLT_LINUX_SLL2);  // an old libpcap refuses and keeps version 1
  }
  const int dlt = pcap_datalink(pcap.get());
  if (!is_supported_link_type(dlt)) return unsupported_link_type(dlt, interface);

  // An empty filter is compiled too, because its result limits how many bytes the kernel copies.
  bpf_program program{};
  if (pcap_compile(pcap.get(), &program, options.filter.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    return bad_filter(options.filter, pcap_geterr(pcap.get()));
  }
  const int filtered = pcap_setfilter(pcap.get(), &program);
  pcap_freecode(&program);
  if (filtered != 0) return bad_filter(options.filter, pcap_geterr(pcap.get()));
  if (pcap_setnonblock(pcap.get(), 1, error) != 0) {
    return make_error(ErrorCode::kUnsupported, fmt::format("cannot open {}: {}", interface, error));
  }
#ifdef PACKET_IGNORE_OUTGOING
  // The kernel shows a packet on lo twice, going out and coming in, and libpcap drops the first.
  // Since 4.20 the kernel can leave that copy out, so the ring holds twice as much.
  if (interface == "lo") {
    const int one = 1;
    setsockopt(pcap_fileno(pcap.get()), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  }
#endif
  return std::unique_ptr<LiveSource>(std::make_unique<LibpcapLive>(std::move(pcap), interface));
}

Result<std::vector<InterfaceInfo>> list_interfaces() {
  char error[PCAP_ERRBUF_SIZE] = "";
  pcap_if_t* all = nullptr;
  if (pcap_findalldevs(&all, error) != 0) {
    return make_error(ErrorCode::kUnsupported, fmt::format("cannot list interfaces: {}", error));
  }
  std::vector<InterfaceInfo> interfaces;
  for (const pcap_if_t* one = all; one != nullptr; one = one->next) {
    interfaces.push_back({one->name, one->description != nullptr ? one->description : "",
                          (one->flags & PCAP_IF_UP) != 0, (one->flags & PCAP_IF_LOOPBACK) != 0});
  }
  pcap_freealldevs(all);
  return interfaces;
}

Status check_filter(std::string_view filter) {
  auto compiled = PacketFilter::compile(std::string(filter), DLT_EN10MB, 65'535);
  if (!compiled.ok()) return std::move(compiled).error();
  return {};
}

void look_up_names_in(const std::string& filter) {
  if (!may_have_names(filter)) return;
  constexpr int kSnaplen = 262'144;  // only its being more than 0 matters
  NamedFilter& named = named_filter();
  named.expression = filter;
  // A name that is not known on Ethernet is not known elsewhere, and each look-up may take long.
  const auto on_ethernet = compile_programs(filter, DLT_EN10MB, kSnaplen);
  const bool is_unknown =
      !on_ethernet.ok() && on_ethernet.error().message.find("unknown ") != std::string::npos;
  for (int dlt = 0; dlt <= UINT16_MAX; ++dlt) {
    if (is_supported_link_type(dlt))
      named.programs.emplace(dlt, is_unknown || dlt == DLT_EN10MB
                                      ? on_ethernet
                                      : compile_programs(filter, dlt, kSnaplen));
  }
}

std::string pcap_library_version() { return pcap_lib_version(); }

}  // namespace topspin
