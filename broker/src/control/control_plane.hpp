// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/launcher.hpp"
#include "control/log.hpp"
#include "control/session_maker.hpp"
#include "data/data_plane.hpp"
#include "gateway/admin_view.hpp"
#include "mserve/shm/directory.hpp"
#include "reload.hpp"

namespace mserve::broker {

class Gateway;

/// The control thread: rendezvous, hang-ups, signals, launched servants, the log. It does whatever
/// may take a system call, so that the data thread does not have to.
class ControlPlane {
 public:
  struct Links {
    Queue<Command>* commands = nullptr;
    Queue<Report>* reports = nullptr;
    DataPlane* data = nullptr;
    Gateway* gateway = nullptr;     ///< Null without -p.
    SessionBoard* board = nullptr;  ///< Who is attached, for whoever asks the gateway.
    int data_epoll_fd = -1;  ///< Session sockets are added here for a data thread that sleeps.
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
  enum class State : std::uint8_t { serving, draining, giving_up, done };
  enum class Tag : std::uint32_t { listener, signals, reports, launcher, handshake, socket, pidfd };
  struct Handshake {
    shm::UniqueFd socket;  ///< Until Hello; the draft's session has it then.
    shm::Credentials who;
    std::uint64_t deadline = 0;
    SessionMaker::Draft draft;
    [[nodiscard]] int fd() const noexcept {
      return draft.session ? draft.session->socket.get() : socket.get();
    }
  };

  void handle(std::uint64_t mark, std::uint32_t events);
  void watch(int fd, Tag tag, std::uint32_t number, std::uint32_t events);
  void unwatch(int fd);
  void accept_all();
  void read_handshake(std::uint32_t key);
  [[nodiscard]] bool take_hello(Handshake& handshake, std::span<const std::byte> bytes);
  void take_mapped(std::uint32_t key, std::span<const std::byte> bytes);
  void refuse(int socket, const SessionMaker::Refusal& refusal, const shm::Credentials& who);
  void drop_handshake(std::uint32_t key);
  void expire_handshakes();
  void peer_gone(std::uint32_t number);
  void take_reports();
  void retire(Session* session, Errc code, const char* where);
  void take_launch_events();
  void expect_servants(bool expected);
  void take_signals();
  void read_configuration_again();
  [[nodiscard]] bool apply_rules(std::span<const Rule> rules, std::string& fault);
  void look_for_stopped();
  void look_for_policy_faults();
  void tell_ready();
  void tick();
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
  shm::UniqueFd epoll_;
  std::unordered_map<std::uint32_t, Handshake> handshakes_;
  std::uint32_t next_handshake_ = 0;
  std::vector<std::unique_ptr<Session>> sessions_;   // by number
  std::vector<bool> detaching_;                      // by number
  std::vector<bool> stopped_;                        // by number: servant's process is stopped
  std::vector<std::unique_ptr<Session>> graveyard_;  // to be unmapped, several at once
  bool listener_rests_ = false;  // out of descriptors; watched again at the next tick
  std::uint32_t servants_attached_ = 0;
  bool launcher_lives_ = false;     // there is one, and it restarts servants
  bool servants_expected_ = false;  // some are on their way, as far as we know
  bool ready_told_ = false;
  bool drained_ = false;
  State state_ = State::serving;
  std::uint64_t deadline_ = 0;  // of the present state
  std::uint64_t tick_at_ = 0;
  std::uint64_t clock_sync_at_ = 0;
  std::uint64_t policy_faults_told_ = 0;
  LogLimiter refusals_;
};

}  // namespace mserve::broker
