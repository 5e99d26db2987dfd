// SPDX-License-Identifier: Apache-2.0
#include "access/checker.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <utility>

#include "sandbox.hpp"

namespace mserve::broker {

namespace {

/// Serving goes before letting in: this thread takes what the others leave, and not their core.
void step_back(int avoid_core, const CoreList& cores) {
  constexpr int kNice = 10;
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);  // of this thread alone
  (void)stay_on(cores.empty() ? avoiding(allowed_cores(), {avoid_core}) : cores);
}

}  // namespace

PasswordChecker::PasswordChecker(Setup setup) : setup_(std::move(setup)) {
  for (std::uint32_t i = 0; i < setup_.threads; ++i) {
    threads_.emplace_back([this] { run(); });
  }
}

PasswordChecker::~PasswordChecker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    logins_.clear();
  }
  asked_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

bool PasswordChecker::try_ask(Login login) {
  {
    const std::lock_guard lock(mutex_);
    if (logins_.size() >= kWaitingMax) {
      return false;
    }
    logins_.push_back(std::move(login));
  }
  asked_.notify_one();
  return true;
}

bool PasswordChecker::next(LoginAnswer& answer) {
  const std::lock_guard lock(mutex_);
  if (answers_.empty()) {
    return false;
  }
  answer = std::move(answers_.front());
  answers_.pop_front();
  return true;
}

void PasswordChecker::run() {
  pthread_setname_np(pthread_self(), "mserve-access");
  step_back(setup_.avoid_core, setup_.cores);
  if (setup_.sandbox) {
    (void)enter_compute_cell();  // without it the thread may do what all threads may
  }
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return stop_ || !logins_.empty(); });
    if (stop_) {
      return;
    }
    LoginAnswer answer;
    {
      const Login login = std::move(logins_.front());
      logins_.pop_front();
      lock.unlock();
      answer = {login.index, login.generation, login.rules->admit(login.user, login.password)};
    }
    lock.lock();
    answers_.push_back(std::move(answer));
    lock.unlock();
    setup_.ready();
    lock.lock();
  }
}

}  // namespace mserve::broker
