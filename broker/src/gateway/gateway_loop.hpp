// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "access/checker.hpp"
#include "control/spare_descriptor.hpp"
#include "gateway/connection.hpp"
#include "gateway/gateway.hpp"
#include "gateway/gateway_link.hpp"
#include "gateway/listeners.hpp"
#include "gateway/readiness.hpp"
#include "mserve/shm/idle.hpp"

namespace mserve::broker {

// What the gateway's thread does: looks at sockets and rings in turn, lets connections act, sleeps
// when there is nothing. Split by what it does: gateway_loop.cpp the loop, gateway_clients.cpp
// connections come and go, gateway_desk.cpp what is asked of the gateway itself.
//   Threads   all of it belongs to the gateway's thread, but for the three flags, the access rules,
//             operators' questions to come, the descriptor that wakes it, and the checker, which
//             locks for itself
//   Sleep     sockets, the session's descriptor and that one wake it, and what wakes the data plane
//             while that is lent; while requests are under way or it is lent, it looks after
//             kSleepNsMax anyway
class Gateway::Loop final : public GatewayDesk {
 public:
  Loop(Setup setup, Listeners listeners);
  ~Loop() override;

  void start();
  void take_leave() noexcept {
    leaving_.store(true, std::memory_order_relaxed);  // nothing else belongs to it
  }
  void drain() noexcept;
  void stop() noexcept;
  void set_access(std::shared_ptr<const AccessRules> access);
  void show_queries(shm::UniqueFd socket, std::size_t count);

  // GatewayDesk.
  [[nodiscard]] kdb::Value admin_answer(const AdminCall& call) override;
  [[nodiscard]] std::vector<SessionRow> sessions() const override;
  [[nodiscard]] std::string http_answer(std::string_view method, std::string_view target) override;
  [[nodiscard]] bool check_login(OriginId origin, const std::string& user,
                                 Secret password) override;

 private:
  /// What an event of Readiness is about: the key's high half; the low half is an index.
  enum class Subject : std::uint32_t { client, listener, session, signal, data };
  struct Client {
    Readiness::Handle handle;
    Connection connection;
    std::uint64_t generation;
    std::uint64_t accepted_ns;
    std::uint64_t held_bytes = 0;  ///< Counted in held_bytes_.
    bool in_turn = false;          ///< Listed in turns_.
    bool in_slow = false;          ///< Listed in slow_.
    bool in_beating = false;       ///< Listed in beating_.
    bool hush_errors = false;  ///< Its socket cried wolf: hang-ups are noticed by reading alone.
    Client(ConnectionContext& context, int fd, const Peer& peer, OriginId origin)
        : connection(context, fd, peer, origin),
          generation(origin.generation),
          accepted_ns(context.now_ns) {}
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
  };
  struct Opening {
    std::uint32_t index;
    std::uint64_t generation;
  };

  /// An operator who wants to see the last queries.
  struct Question {
    shm::UniqueFd socket;
    std::size_t count = 0;
  };

  // The desk (gateway_desk.cpp).
  void answer_operators();
  [[nodiscard]] std::size_t queries_at_once(std::size_t count) const noexcept;

  // The loop (gateway_loop.cpp).
  void run();
  void pin() const;
  [[nodiscard]] bool attach();
  void serve();
  void borrow_data();
  void return_data();
  bool pass();
  bool poll_link();
  bool poll_sockets(bool rings_worked);
  bool pass_data();
  bool take_event(const LinkEvent& event);
  bool sleep();
  bool sleep_on_link(std::uint64_t ns);
  [[nodiscard]] std::uint64_t sleep_ns() const;
  [[nodiscard]] std::uint64_t idle_ns() const;
  void pause(std::uint64_t ns);
  void on_ready(std::uint64_t key, Readiness::What what);
  void take_signals();
  void take_access();
  /// Whether nobody is let in for want of users.
  [[nodiscard]] bool awaits_users() const noexcept {
    return context_.settings.users_required && context_.access == nullptr;
  }
  void wake() noexcept;
  void lose(std::string_view reason);
  void tick();
  [[nodiscard]] bool finished() const;

  // Connections (gateway_clients.cpp).
  void open_listeners();
  void close_listeners();
  void accept_from(std::uint32_t listener);
  [[nodiscard]] bool admit(shm::UniqueFd accepted);
  [[nodiscard]] int accept_one(std::uint32_t listener, shm::UniqueFd& fd) const noexcept;
  [[nodiscard]] int turn_away(std::uint32_t listener);
  void client_ready(std::uint32_t index, Readiness::What what);
  void out_of_memory(std::uint32_t index);
  void settle(std::uint32_t index);
  void begin_drain();
  void drain_unasked();
  void drop(std::uint32_t index);
  void drop_all();
  void expire_openings();
  void expire_idle();
  template <class Act>
  void go_through(std::vector<std::uint32_t>& listed, bool Client::*mark, Act act);
  void run_turns();
  void be_patient();
  void beat();
  [[nodiscard]] std::uint64_t held_bytes_max() const noexcept;
  void close_largest();
  [[nodiscard]] Client* client_at(std::uint32_t index, std::uint64_t generation) noexcept;

  const Setup setup_;
  Listeners listeners_;
  ConnectionContext context_;
  shm::Idler idler_;
  Readiness ready_;
  shm::UniqueFd signal_fd_;  ///< eventfd: drain_ or stop_ was set.
  std::atomic<bool> leaving_{false};
  std::atomic<bool> drain_{false};
  std::atomic<bool> stop_{false};
  std::mutex question_mutex_;
  std::vector<Question> questions_;  ///< Under question_mutex_.
  std::mutex access_mutex_;
  /// Under access_mutex_; nothing: none to come; null: nobody is asked from then on.
  std::optional<std::shared_ptr<const AccessRules>> next_access_;
  std::unique_ptr<PasswordChecker> checker_;  ///< Null where there never are users.

  std::unique_ptr<GatewayLink> link_;
  Readiness::Handle session_watch_;
  Readiness::Handle signal_watch_;
  Readiness::Handle data_watch_;
  DataPlane* data_ = nullptr;  ///< Ours to run; null: the data thread does.
  std::vector<Readiness::Handle> listener_watches_;
  std::vector<std::unique_ptr<Client>> clients_;  ///< By index; null when free.
  std::vector<std::uint32_t> free_;
  std::deque<Opening> openings_;        ///< Oldest first.
  std::vector<std::uint32_t> turns_;    ///< Connections that go on next pass.
  std::vector<std::uint32_t> slow_;     ///< Connections that read slowly.
  std::vector<std::uint32_t> beating_;  ///< Links of other brokers, which hear that we live.
  std::vector<std::uint32_t> taken_;    ///< One of these lists, while it is gone through.
  std::size_t client_count_ = 0;
  std::uint64_t held_bytes_ = 0;  ///< By all connections.
  std::uint64_t generation_ = 0;
  std::uint64_t tick_at_ = 0;
  std::uint64_t patience_at_ = 0;
  std::uint64_t beat_at_ = UINT64_MAX;  ///< When the first of beating_ is to hear it.
  std::uint64_t give_up_at_ = 0;  ///< After stop(): when what is unsent is given up; 0: not yet.
  std::size_t idle_cursor_ = 0;
  bool draining_ = false;
  bool lost_ = false;
  bool asleep_ = false;
  bool session_ready_ = false;
  bool rings_worked_ = false;  ///< In the pass before.
  std::uint32_t socket_skips_ = 0;
  std::uint64_t upkeep_at_ = 0;
  bool accept_paused_ = false;
  KindLimiter arrivals_;
  SpareDescriptor spare_;
  std::thread thread_;
};

}  // namespace mserve::broker
