// ScriptClients: the workload of scripts. It has each client's sockets, what its script waits for,
// its turns and its steps, and accounts for them.
//
// A message of the accounts is a turn of client:every, or a step outside of a turn. A client has at
// most one message at a time. The moments of a loop of turns are those of any workload: the phase
// of the client's slot plus k periods, computed from the load's beginning, so that nothing drifts.
// A moment at which the client is still busy with its last turn waits, and is skipped when the next
// one has come.
//
// Nothing is read from a socket that the script does not ask for, so what a server can make us keep
// is bounded by kMostInbox per socket. Everything is on the load's thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "load/engine/engine.h"
#include "load/http/http.h"
#include "load/script/script_guest.h"
#include "load/script/step_book.h"
#include "load/script/timers.h"
#include "load/wire/tcp_socket.h"

namespace topspin {

/// What a receive waits for. A datagram is always received whole.
struct ReceiveWish {
  enum class Until : uint8_t { kAny, kBytes, kMark, kEnd, kHttp };
  Until until = Until::kAny;
  bool is_line = false;  // kMark: a CR before it is no part of it
  size_t bytes = 0;      // kBytes; kAny: at most so many of a connection, if it is not 0
  std::string mark;      // kMark: the text that ends the wanted bytes, without being one of them
  bool is_head = false;  // kHttp: the response is to a HEAD, so it has no body
  HttpKeep keep;         // kHttp: what is kept of it
  bool is_optional = false;  // nothing within the timeout is no failure
  int64_t timeout_ns = 0;
};

class ScriptClients : public Workload {
 public:
  static constexpr uint32_t kMostSockets = 64;  // per client
  static constexpr size_t kMostInbox = size_t{1}
                                       << 20;        // bytes that wait for their end, per socket
  static constexpr size_t kMostReasons = 50;         // texts in each list of reasons
  static constexpr size_t kMostDepth = 8;            // steps in steps
  static constexpr size_t kMostPrintedBytes = 1000;  // of a line
  static constexpr uint64_t kMostPrintedLines = 1000;

  /// The guest is used from prepare() on, and outlives the workload.
  void set_guest(ScriptGuest& guest) { guest_ = &guest; }
  /// A stop of the script's own, for what `stop` of run_clients() points to.
  void set_stop(const std::atomic<bool>& asked, std::atomic<bool>& stop) {
    asked_to_stop_ = &asked;
    stop_ = &stop;
  }
  void stop_load() { wants_stop_ = true; }
  void set_mute() { printed_lines_ = kMostPrintedLines; }

  // For the engine.
  Status prepare(Engine& engine) override;
  void join(uint32_t stay) override;
  void due(uint32_t, int64_t) override { CHECK(false); }  // the clients have timers of their own
  void flush() override;
  void leave(uint32_t stay) override;
  void ready(uint64_t token, uint32_t events) override;
  void overdue(uint32_t, uint64_t) override {}  // a turn may take longer; it is late then
  void report(LoadResult& result) override;

  // For the guest, about the client that it runs. An operation without an answer has one later, by
  // resume(); the script must be suspended then.
  uint32_t current() const { return current_; }
  uint32_t slot(uint32_t client) const { return engine_->stay(client).slot; }
  const LoadOptions& options() const { return engine_->options(); }
  const Target& target() const { return engine_->target(); }
  int64_t now_ns() const { return engine_->now_ns(); }

  void sleep(int64_t ns);
  /// Begins a loop of turns and returns its number.
  uint32_t begin_turns(int64_t period_ns);
  /// Answers with the turn's number, or with kNil when the client's time is over. kUsage if another
  /// loop has begun since.
  Result<std::optional<Answer>> next_turn(uint32_t loop);
  bool has_room_for_socket() const { return clients_[current_].sockets < kMostSockets; }
  /// An empty address is the target. kUsage for one that is not allowed.
  Result<uint32_t> open_socket(std::string_view address, bool datagrams, bool keeps);
  std::optional<Answer> connect(uint32_t socket, int64_t timeout_ns);
  std::optional<Answer> send(uint32_t socket, std::string_view bytes);
  std::optional<Answer> receive(uint32_t socket, ReceiveWish wish);
  void close(uint32_t socket) { release(socket); }
  /// The script has no object of the socket any more.
  void forget(uint32_t socket, uint32_t generation);
  /// Requests over a connection that the client keeps. REQUIRES: check_request() is fine with it.
  std::optional<Answer> request(HttpRequest request, int64_t timeout_ns);
  bool is_open(uint32_t socket) const;
  std::optional<Answer> not_connected() { return fail_with("not connected"); }
  /// Whether the number is still that of a socket of the current client.
  bool is_own(uint32_t socket, uint32_t generation) const;
  uint32_t generation(uint32_t socket) const { return sockets_[socket].generation; }

  /// False if the client's time is over and no turn is open: the script must be suspended, and is
  /// dropped. kUsage for too many steps.
  Result<bool> begin_step(std::string_view name);
  void end_step(bool has_failed);
  /// The innermost step, the turn, or what is outside of both, has failed.
  void fail(std::string_view reason);
  Status check(std::string_view name, bool passed);
  void printed(std::string_view line);

 private:
  static constexpr uint64_t kTimerToken = ~uint64_t{0} - 1;
  static constexpr uint32_t kNoSocket = ~uint32_t{0};

  enum class Wait : uint8_t {
    kNothing,
    kSleep,
    kTurn,
    kConnect,
    kSend,
    kReceive,
    kHttp,
    kAnswer,
    kForEver
  };
  struct Client {
    Wait wait = Wait::kNothing;
    bool is_live = false;     // its script has begun and neither ended nor been dropped
    bool is_leaving = false;  // its time is over
    bool is_closed = false;
    bool has_message = false;  // a turn or a step outside of one is open
    bool in_turn = false;      // ... a turn
    bool has_failed = false;
    bool has_failed_check = false;
    uint32_t waits_on = kNoSocket;
    uint32_t first_socket = kNoSocket;
    uint32_t http_socket = kNoSocket;
    uint32_t sockets = 0;
    uint64_t number = 0;  // of the message, in the ledger
    int64_t begun_ns = 0;
    int64_t free_ns = 0;      // when its last message ended
    int64_t since_ns = 0;     // a loop of turns that begins now has moments from here on
    int64_t script_ns = 0;    // what the script's own code may have delayed the message by
    int64_t wake_ns = 0;      // when its wait ends by itself
    int64_t deadline_ns = 0;  // kReceive: its timeout, when wake_ns is only a pause
    int64_t cut_ns = 0;       // leaving: when its script is cut off
    std::string reason;       // why the message failed
    Answer later;             // kAnswer
    std::string later_text;   // of it
    std::vector<OpenStep> steps;
    // The loop of turns.
    uint32_t loop = 0;  // 0: none
    int64_t period_ns = 0;
    int64_t loop_since_ns = 0;
    int64_t next_ns = 0;  // the next moment
    int64_t turn_ns = 0;  // the moment of the open turn
    bool is_first_step = false;
    uint64_t turns = 0;
  };
  struct Socket {
    UniqueFd fd;
    uint32_t client = 0;
    uint32_t generation = 0;
    uint32_t next = kNoSocket;  // of the same client
    bool is_datagrams = false;
    bool is_connected = false;
    bool keeps = false;  // UDP: what nobody has received by the next send is still received
    bool is_open = false;
    int64_t begun_ns = 0;
    Target const* target = nullptr;
    std::string inbox;    // TCP: received, and not asked for yet
    size_t searched = 0;  // of the inbox: where the mark cannot begin
    std::string outbox;   // TCP: what is still to be sent
    ReceiveWish wish;
    std::unique_ptr<HttpResponse> response;  // of a receive of kHttp
    std::unique_ptr<HttpConnection> http;
    int64_t connected_ns = 0;
    std::unique_ptr<PreparedHttpRequest> prepared;
  };

  uint64_t token_of(uint32_t socket) const {
    return uint64_t{sockets_[socket].generation & 0x7FFFFFFF} << 32 | socket;
  }
  Rhythm rhythm_of(int64_t period_ns) const;
  void run(uint32_t client, const Answer* answer);
  void resume(uint32_t client, const Answer& answer);
  void wait_for(Wait wait, std::optional<int64_t> until_ns, uint32_t socket = kNoSocket);
  void set_timer(uint32_t client);
  /// The script's time since the last call, without that of operations.
  int64_t take_script_ns();
  void time_has_come(uint32_t client, int64_t now_ns);
  void begin_turn(uint32_t client, int64_t now_ns);
  void skip_moments(Client& client, int64_t until_ns, int64_t busy_until_ns);
  void begin_message(uint32_t client, int64_t intended_ns, int64_t now_ns);
  void end_message(uint32_t client, int64_t now_ns);
  void end_loop(uint32_t client, int64_t now_ns);
  void end_client(uint32_t client);
  void drop(uint32_t client);
  void fail_message(uint32_t client, std::string_view reason);
  Answer fail_socket(uint32_t socket, int number);
  Answer fail_with(std::string_view reason);
  std::optional<Answer> send_rest(uint32_t socket);
  std::optional<Answer> try_receive(uint32_t socket);
  std::optional<Answer> receive_datagram(uint32_t socket);
  std::optional<Answer> take_from_inbox(Socket& socket);
  std::optional<Answer> take_response(Socket& socket, bool has_ended);
  /// An answer that is there at once, but given after other clients have had their turn. So a
  /// script that tries again and again does not keep the thread.
  std::nullopt_t answer_later(const Answer& answer);
  Answer connected(uint32_t socket);
  int open_descriptor(Socket& socket);
  void drain(uint32_t socket);
  void close_socket(uint32_t socket);
  void release(uint32_t socket);
  Result<uint32_t> take_socket(const Target& target);
  std::optional<Answer> take_http_events(uint32_t socket);
  Answer http_answered(const HttpAnswer& answer);
  void arm_timer();
  uint64_t& count_of(std::map<std::string, uint64_t>& reasons, std::string_view reason);
  int64_t leave_ns(uint32_t client) const { return engine_->leave_ns(client); }

  Engine* engine_ = nullptr;
  ScriptGuest* guest_ = nullptr;
  const std::atomic<bool>* asked_to_stop_ = nullptr;
  std::atomic<bool>* stop_ = nullptr;
  bool wants_stop_ = false;
  std::vector<Client> clients_;  // by stay
  std::vector<Socket> sockets_;
  std::vector<uint32_t> free_sockets_;
  std::map<std::string, Target, std::less<>> others_;  // addresses that the user allowed
  ClientTimers timers_;
  UniqueFd timer_;
  int64_t armed_ns_ = -1;
  uint32_t current_ = 0;
  std::optional<StepBook> book_;
  SourceRotation sources_;
  bool rotates_ = false;
  std::array<char, 65536> buffer_;
  std::string taken_;  // what a receive returned last
  std::string reason_;
  ScriptAccounts accounts_;
  HttpServer http_server_;
  HttpAnswer last_response_;
  std::optional<HttpAccounts> http_;
  std::optional<TlsAccounts> tls_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
  uint64_t port_unreachable_ = 0;
  uint64_t planned_ = 0;  // computed from the loops, not from what was done
  uint64_t steps_outside_ = 0;
  bool has_loops_ = false;
  int64_t flush_mark_ns_ = 0, flush_mark_before_ns_ = 0;  // script_ns at the last two flushes
  int64_t run_mark_ns_ = 0;                               // take_script_ns() was called
  int64_t operation_ns_ = 0;                              // ... of operations since
  uint64_t printed_lines_ = 0;
  uint32_t loops_ = 0;
  bool is_running_ = false;  // the guest runs
  uint32_t received_in_run_ = 0;

  friend class OperationTime;
};

}  // namespace topspin
