// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "access/ring_access.hpp"
#include "control/launcher.hpp"
#include "control/log.hpp"
#include "control/monitor_board.hpp"
#include "control/request_log.hpp"
#include "control/reserve.hpp"
#include "control/servant_hold.hpp"
#include "control/servant_target.hpp"
#include "control/service_manager.hpp"
#include "control/session_maker.hpp"
#include "control/spare_descriptor.hpp"
#include "data/data_plane.hpp"
#include "gateway/admin_view.hpp"
#include "mserve/shm/directory.hpp"
#include "reload.hpp"
#include "sandbox.hpp"

namespace mserve::broker {

class Gateway;

/// The control thread: rendezvous, hang-ups, signals, operators, launched servants, the log. It
/// does whatever may take a system call, so that the data thread does not have to.
///
/// Split by what it does: control_plane.cpp the loop and its end, handshake.cpp strangers become
/// sessions, operations.cpp what operators ask for, launched.cpp what the launcher tells,
/// spikes.cpp when the reserve serves.
class ControlPlane {
 public:
  struct Links {
    Queue<Command>* commands = nullptr;
    Queue<Report>* reports = nullptr;
    DataPlane* data = nullptr;
    Gateway* gateway = nullptr;             ///< Null without -p.
    SessionBoard* board = nullptr;          ///< Who is attached, for whoever asks the gateway.
    MonitorBoard* monitor = nullptr;        ///< The same and more, for whoever looks at the broker.
    LogQueue* gateway_log = nullptr;        ///< Never null.
    RequestLog* requests = nullptr;         ///< What is told of single requests. Never null.
    shm::Counter* refused_calls = nullptr;  ///< Null without --sandbox.
    int data_epoll_fd = -1;     ///< Session sockets are added here for a data thread that sleeps.
    int control_epoll_fd = -1;  ///< This thread sleeps on it; nothing is watched there yet.
    int command_fd = -1;
    int report_fd = -1;
    int signal_fd = -1;  ///< signalfd of SIGTERM, SIGINT, SIGHUP.
  };
  ControlPlane(const BrokerOptions& options, const Links& links, SessionMaker maker,
               shm::UniqueFd listener, Launcher launcher, Reload reload);

  /// Serves until a signal ended the broker and everything is answered or given up. On return the
  /// data thread was told to stop.
  void run();
  /// After the data thread has ended: what it handed back last is freed, the launcher stopped.
  void finish();

 private:
  enum class State : std::uint8_t { serving, leaving, draining, giving_up, done };
  enum class Tag : std::uint32_t {
    listener,
    signals,
    reports,
    launcher,
    handshake,
    socket,
    pidfd,
    operation
  };
  struct Handshake {
    shm::UniqueFd socket;  ///< Until Hello; the draft's session has it then.
    shm::Credentials who;
    std::uint64_t deadline = 0;
    SessionMaker::Draft draft;
    [[nodiscard]] int fd() const noexcept {
      return draft.session ? draft.session->socket.get() : socket.get();
    }
  };

  /// An operator's request that waits until the data thread did its part or servants run dry.
  struct Operation {
    struct Part {
      std::uint32_t number = 0;
      std::uint32_t generation = 0;
      std::string name{};
      std::uint32_t launched = 0;  ///< Not attached: only the launcher is told. 0: a session.
      bool told = false;           ///< The data thread was told to close it.
      bool was_paused = false;     ///< When the order came.
    };
    shm::UniqueFd socket;
    shm::Verb verb = shm::Verb::drain;
    std::uint64_t deadline = 0;
    std::vector<Part> parts;
    bool own = false;  ///< Of a servant that drains itself and is no operator.
    /// Whether it waits for servants to run dry.
    [[nodiscard]] bool drains() const noexcept {
      return verb == shm::Verb::drain || verb == shm::Verb::retire;
    }
  };
  /// What is kept of an attached servant.
  struct Servant {
    ServantHold hold;
    std::uint32_t launched = 0;  ///< What the launcher calls it (Program::servant); 0: not ours.
    std::uint64_t told = 0;      ///< Session::told at the last look, of the reserve.
    std::uint32_t drains = 0;    ///< Operations that wait for it to run dry.
  };
  /// How a launched servant was called when it attached last.
  struct LastSession {
    std::uint32_t number = 0;
    std::string name;
    std::string tags;
    std::uint64_t classes = 0;  ///< Those of its tags.
  };
  /// A process that is not to attach as a servant again, for as long as it lives.
  struct Retired {
    pid_t pid = 0;
    shm::UniqueFd pidfd;
  };

  void handle(std::uint64_t mark, std::uint32_t events);
  void watch(int fd, Tag tag, std::uint32_t number, std::uint32_t events);
  void unwatch(int fd);
  void accept_all();
  [[nodiscard]] Error turn_away();
  void admit(shm::UniqueFd socket);
  void make_room_for_handshake();
  void read_handshake(std::uint32_t key);
  void read_message(std::uint32_t key, Handshake& handshake);
  [[nodiscard]] bool take_hello(Handshake& handshake, std::span<const std::byte> bytes);
  [[nodiscard]] bool welcome(const shm::Hello& hello, Handshake& handshake,
                             SessionMaker::Refusal& refusal);
  void take_mapped(std::uint32_t key, std::span<const std::byte> bytes);
  [[nodiscard]] Error begin_session(std::uint32_t key, bool& leaving);
  [[nodiscard]] Error send_ready(const Session& session);
  void refuse(int socket, const SessionMaker::Refusal& refusal, const shm::Credentials& who);
  void fail_handshake(std::uint32_t key, const Error& error);
  void drop_handshake(std::uint32_t key);
  void expire_handshakes();
  void peer_gone(std::uint32_t number);
  void take_reports();
  void end_session(Session* session, Errc code, const char* where);

  // What operators ask for (operations.cpp).
  void take_control(Handshake& handshake, std::span<const std::byte> bytes);
  void operate(Handshake& handshake, const shm::Control& control, bool own);
  void set_policy(const Handshake& handshake, const std::string& name);
  void change_log_level(const Handshake& handshake, const std::string& level);
  void reload_for(const Handshake& handshake);
  void tell_order(const Handshake& handshake, std::string_view verb, const std::string& target,
                  LogValue sessions);
  void begin_operation(Handshake& handshake, const shm::Control& control,
                       std::vector<Operation::Part> parts, bool own);
  void advance_operations();
  [[nodiscard]] bool advance(Operation& operation, std::uint64_t now);
  void end_operation(std::uint32_t key);
  void call_off_operations();
  void hold(const Session& servant, ServantHold::Reason reason, bool there);
  void show_held(std::uint32_t number);
  [[nodiscard]] const char* without_servants() const;
  [[nodiscard]] bool of_itself(const shm::Credentials& who, const shm::Control& control) const;
  [[nodiscard]] static bool is_of(const Operation::Part& part, const Session* session) noexcept;
  [[nodiscard]] Session* session_of(const Operation::Part& part) const noexcept;
  [[nodiscard]] bool is_retiring(const Session& servant) const noexcept;
  [[nodiscard]] std::string state_of(const Session& servant) const;
  [[nodiscard]] kdb::Value servant_states() const;
  void end_for_good(Session& servant);
  void remember_retired(Session& session);
  [[nodiscard]] bool was_retired(pid_t pid) const noexcept;

  // What the launcher tells (launched.cpp).
  void take_launch_events();
  void tell_launch_event(const LaunchEvent& event);
  void tell_keeps_ending(const LaunchEvent& event);
  [[nodiscard]] std::uint32_t launched_servant_of(pid_t pid) const noexcept;
  void note_launched(const Session& servant);
  [[nodiscard]] bool serves_for(std::uint32_t launched, const Session* self) const noexcept;
  [[nodiscard]] std::vector<Operation::Part> absent_launched(const ServantTarget& target) const;
  void retire_launched(std::uint32_t launched, const Session* self);
  [[nodiscard]] std::uint64_t expected_classes() const;
  void look_at_expected();

  // The reserve (spikes.cpp).
  template <class Do>
  void for_servants(const Do& act) {
    for (const auto& session : sessions_) {
      if (session != nullptr && session->is_servant() && !detaching_[session->number]) {
        act(*session, servants_[session->number]);
      }
    }
  }
  [[nodiscard]] Nanos reserve_look_ns() const noexcept;
  void advance_reserve();
  void look_at_use(Nanos now);
  [[nodiscard]] static bool is_aside(const Servant& servant) noexcept;
  void advance_leaving(std::uint32_t number, Nanos now, Nanos age);
  [[nodiscard]] bool gone(std::uint32_t number) const;
  void call_off_reserve();
  void hold_launched(std::uint32_t number, bool there);
  [[nodiscard]] bool join_reserve(const Session& session);
  void find_reserve_sessions();

  void bury();
  void take_signals();
  Reloaded read_configuration_again();
  void apply(const Reloaded& read);
  [[nodiscard]] static Command options_command(const BrokerOptions& options);
  [[nodiscard]] bool apply_rules(std::span<const Rule> rules, std::string& fault);
  void tell_classes(ClassTable::Change change);
  void look_for_stopped();
  void look_for_policy_faults();
  void look_for_refused_calls();
  void take_stamps();
  void tell_ready();
  void tell_alive(Nanos now);
  void tick();
  /// Also while it takes leave.
  [[nodiscard]] bool serves() const noexcept {
    return state_ == State::serving || state_ == State::leaving;
  }
  void take_leave();
  void begin_drain();
  void advance_shutdown();
  void close_all();
  void command(Command::Kind kind, Session* session = nullptr, bool flag = false);

  const BrokerOptions& options_;
  Links links_;
  SessionMaker maker_;
  shm::UniqueFd listener_;
  Launcher launcher_;
  Reload reload_;
  RingAccess ring_access_;
  std::unordered_map<std::uint32_t, Handshake> handshakes_;
  std::uint32_t next_handshake_ = 0;
  std::vector<std::unique_ptr<Session>> sessions_;   // by number
  std::vector<bool> detaching_;                      // by number
  std::vector<Servant> servants_;                    // by number
  std::vector<std::unique_ptr<Session>> graveyard_;  // to be unmapped, several at once
  bool listener_rests_ = false;  // out of descriptors; watched again at the next tick
  std::unordered_map<std::uint32_t, Operation> operations_;
  std::uint32_t next_operation_ = 0;
  std::vector<Retired> retired_;
  std::vector<pid_t> launched_pids_;          // by program; 0: it does not run
  std::set<std::uint32_t> launched_retired_;  // Program::servant
  Reserve reserve_;
  Nanos reserve_look_at_ = 0;
  std::map<std::uint32_t, LastSession> launched_last_;  // by Program::servant
  std::uint32_t servants_attached_ = 0;
  std::uint32_t links_attached_ = 0;  // Of these: links to other brokers, which nobody waits for.
  bool launcher_lives_ = false;       // there is one, and it restarts servants
  std::set<std::uint32_t> launched_failing_;  // Program::servant; not attached, and keeps ending
  std::uint64_t joining_classes_ = 0;         // of the servant that is told Ready
  std::uint64_t expected_classes_ = kEveryClass;  // what the data thread was told last
  Command options_now_;                           // what the data thread was told last
  bool ready_told_ = false;
  bool drained_ = false;
  State state_ = State::serving;
  std::uint64_t deadline_ = 0;  // of the present state
  std::uint64_t tick_at_ = 0;
  std::uint64_t clock_sync_at_ = 0;
  std::uint64_t policy_faults_told_ = 0;
  RefusedCalls refused_calls_;
  ServiceManager manager_;
  std::uint32_t beats_sent_ = 0;
  Nanos beat_at_ = 0;
  KindLimiter refusals_;
  SpareDescriptor spare_;
};

}  // namespace mserve::broker
