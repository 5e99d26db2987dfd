// SPDX-License-Identifier: Apache-2.0
#include "failover_book.hpp"

#include <algorithm>

namespace mserve::bench {
namespace {

/// A request is sent on in the same pass in which it comes; one that was held for longer was sent
/// to somebody else before, or waited for credit, which the window does not let happen.
constexpr std::uint64_t kMovedNsMin = 100'000;

}  // namespace

std::uint64_t FailoverBook::send(std::uint64_t now) {
  sent_.push_back({.at_ns = now});
  ++under_way_;
  return sent_.size();
}

bool FailoverBook::first_answer(std::uint64_t id) {
  Sent& sent = sent_[id - 1];
  if (++sent.answers > 1) {
    figures_.twice += sent.answers == 2 ? 1 : 0;
    return false;
  }
  --under_way_;
  return true;
}

void FailoverBook::answer(std::uint64_t id, std::uint64_t now, std::string_view servant,
                          std::uint64_t held_ns) {
  if (!first_answer(id)) {
    return;
  }
  hear_nothing(now);
  heard_ns_ = now;
  if (lost_.empty()) {
    return;
  }
  const bool of_lost = servant == lost_;
  const bool moved = !of_lost && held_ns >= kMovedNsMin;
  figures_.moved += moved ? 1 : 0;
  if (of_lost || moved) {
    figures_.wait_ns = std::max(figures_.wait_ns, now - sent_[id - 1].at_ns);
  }
}

void FailoverBook::fail(std::uint64_t id, const std::string& error) {
  if (first_answer(id)) {
    ++figures_.failed;
    ++figures_.errors[error];
  }
}

void FailoverBook::lose(std::string_view servant) {
  lost_ = servant;
  listening_ = true;
}

void FailoverBook::hear_nothing(std::uint64_t now) {
  if (listening_ && heard_ns_ != 0) {
    figures_.silence_ns = std::max(figures_.silence_ns, now - heard_ns_);
  }
}

FailoverFigures FailoverBook::figures() const {
  FailoverFigures all = figures_;
  all.sent = sent_.size();
  all.lost = under_way_;
  return all;
}

}  // namespace mserve::bench
