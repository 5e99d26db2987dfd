// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "access/rules.hpp"
#include "core_list.hpp"

namespace mserve::broker {

/// Somebody who wants in.
struct Login {
  std::uint32_t index = 0;       ///< Of the connection,
  std::uint64_t generation = 0;  ///< and which one of that index.
  std::shared_ptr<const AccessRules> rules;
  std::string user;
  Secret password;
};

struct LoginAnswer {
  std::uint32_t index = 0;
  std::uint64_t generation = 0;
  std::shared_ptr<const Role> role;  ///< Null: refused.
};

// Checks passwords on threads of its own, since a good hash takes tens of milliseconds.
//   Threads   one asks and takes the answers; the helpers share the two queues with it under one
//             lock, which nobody holds for longer than a move
//   Bounds    kWaitingMax logins wait; more are refused at once
class PasswordChecker {
 public:
  /// At 20 ms a hash these take half of the time that a handshake has.
  static constexpr std::size_t kWaitingMax = 128;

  struct Setup {
    std::uint32_t threads = 1;
    int avoid_core = -1;          ///< Somebody else's.
    CoreList cores{};             ///< Where it stays; empty: anywhere but on avoid_core.
    bool sandbox = false;         ///< The process is in one: the helpers may compute, no more.
    std::function<void()> ready;  ///< Called by a helper once there is an answer.
  };
  explicit PasswordChecker(Setup setup);
  /// Waits for the checks under way; what else is queued is forgotten.
  ~PasswordChecker();
  PasswordChecker(const PasswordChecker&) = delete;
  PasswordChecker& operator=(const PasswordChecker&) = delete;

  /// @return false: too many wait.
  [[nodiscard]] bool try_ask(Login login);
  /// The next answer. @return false: none is there.
  [[nodiscard]] bool next(LoginAnswer& answer);

 private:
  void run();

  const Setup setup_;
  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<Login> logins_;
  std::deque<LoginAnswer> answers_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace mserve::broker
