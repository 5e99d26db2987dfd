// SPDX-License-Identifier: Apache-2.0
#include "control/reserve.hpp"

#include <algorithm>

namespace mserve::broker {

Reserve::Reserve(const Settings& settings) : settings_(settings), servants_(settings.count) {}

bool Reserve::covers(std::uint32_t servant) const noexcept {
  return servant >= settings_.first && servant - settings_.first < servants_.size();
}

Reserve::State Reserve::state(std::uint32_t servant) const noexcept {
  return of(servant).state;
}

bool Reserve::can_start() const noexcept {
  return std::any_of(servants_.begin(), servants_.end(),
                     [](const One& one) { return one.state == State::off; });
}

std::optional<std::uint32_t> Reserve::leaving() const noexcept {
  const auto found = std::find_if(servants_.begin(), servants_.end(), [](const One& one) {
    return one.state == State::held || one.state == State::ending;
  });
  return found != servants_.end() ? std::optional(number_of(*found)) : std::nullopt;
}

std::optional<std::uint32_t> Reserve::start(Nanos now, Nanos queue_age) noexcept {
  if (queue_age < settings_.after || (starts_ != 0 && now - started_at_ < settings_.after)) {
    return std::nullopt;
  }
  const auto found = std::find_if(servants_.begin(), servants_.end(),
                                  [](const One& one) { return one.state == State::off; });
  if (found == servants_.end()) {
    return std::nullopt;
  }
  *found = {.state = State::started, .used = now, .start = ++starts_};
  started_at_ = now;
  return number_of(*found);
}

std::optional<std::uint32_t> Reserve::hold(Nanos now, Nanos queue_age) noexcept {
  // While the queue is old whoever is idle may not be allowed to run what waits, and would be
  // started again at once.
  if (queue_age >= settings_.after || settings_.idle == kForever || leaving()) {
    return std::nullopt;
  }
  One* newest = nullptr;
  for (One& one : servants_) {
    if (one.state == State::started && now - one.used >= settings_.idle &&
        (newest == nullptr || one.start > newest->start)) {
      newest = &one;
    }
  }
  if (newest == nullptr) {
    return std::nullopt;
  }
  newest->state = State::held;
  return number_of(*newest);
}

void Reserve::used(std::uint32_t servant, Nanos now) noexcept {
  of(servant).used = now;
}

Nanos Reserve::idle(std::uint32_t servant, Nanos now) const noexcept {
  return now - of(servant).used;
}

void Reserve::keep(std::uint32_t servant, Nanos now) noexcept {
  of(servant).state = State::started;
  of(servant).used = now;
}

void Reserve::end(std::uint32_t servant) noexcept {
  of(servant).state = State::ending;
}

void Reserve::ended(std::uint32_t servant) noexcept {
  of(servant).state = State::off;
}

void Reserve::retire(std::uint32_t servant) noexcept {
  of(servant).state = State::retired;
}

}  // namespace mserve::broker
