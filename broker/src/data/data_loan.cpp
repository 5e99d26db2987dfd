// SPDX-License-Identifier: Apache-2.0
#include "data/data_loan.hpp"

namespace mserve::broker {

void DataLoan::run() {
  for (;;) {
    data_.run();
    std::unique_lock lock(mutex_);
    state_ = data_.stopped() ? State::stopped : State::lent;
    changed_.notify_all();
    if (state_ == State::stopped) {
      return;
    }
    changed_.wait(lock, [this] { return state_ == State::kept; });
  }
}

DataPlane* DataLoan::borrow() {
  Command lend;
  lend.kind = Command::Kind::lend;
  tell(commands_, command_fd_, lend);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return state_ != State::kept; });
  return state_ == State::lent ? &data_ : nullptr;
}

void DataLoan::give_back() {
  const std::lock_guard lock(mutex_);
  state_ = State::kept;
  changed_.notify_all();
}

}  // namespace mserve::broker
