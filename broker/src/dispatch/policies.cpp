// SPDX-License-Identifier: Apache-2.0
#include "dispatch/policies.hpp"

#include <algorithm>
#include <bit>

namespace mserve::broker {

void EvenPolicy::leave(std::uint32_t servant, bool sent) noexcept {
  free_.clear(servant);
  last_ = sent ? servant : last_;
}

std::uint32_t EvenPolicy::choose() const noexcept {
  const std::uint32_t above = free_.first_above(last_);
  return above != kNone ? above : free_.first();
}

void MatchPolicy::enter(const FreeServant& servant) noexcept {
  Node& node = nodes_[servant.index];
  node.where = place_of(servant);
  if (node.where == Where::bare) {
    bare_.set(servant.index);
  } else {
    append<&Node::order>(nodes_, node.where == Where::roomy ? roomy_ : used_, servant.index);
  }
}

void MatchPolicy::stay(const FreeServant& servant, bool sent) noexcept {
  if (place_of(servant) == Where::used && nodes_[servant.index].where == Where::used) {
    make_last<&Node::order>(nodes_, used_, servant.index);
  } else {
    leave(servant.index, sent);
    enter(servant);
  }
}

void MatchPolicy::leave(std::uint32_t servant, bool /*sent*/) noexcept {
  Node& node = nodes_[servant];
  if (node.where == Where::bare) {
    bare_.clear(servant);
  } else {
    remove<&Node::order>(nodes_, node.where == Where::roomy ? roomy_ : used_, servant);
  }
  node.where = Where::out;
}

std::uint32_t MatchPolicy::choose() const noexcept {
  if (!bare_.empty()) {
    return bare_.first();
  }
  return !roomy_.empty() ? roomy_.first : used_.first;
}

void LeastPolicy::enter(const FreeServant& servant) noexcept {
  const std::uint32_t level = std::min(servant.outstanding, kLevels - 1);
  nodes_[servant.index].level = level;
  append<&Node::order>(nodes_, levels_[level], servant.index);
  occupied_ |= std::uint64_t{1} << level;
}

void LeastPolicy::leave(std::uint32_t servant, bool /*sent*/) noexcept {
  const std::uint32_t level = nodes_[servant].level;
  nodes_[servant].level = kNone;
  remove<&Node::order>(nodes_, levels_[level], servant);
  if (levels_[level].empty()) {
    occupied_ &= ~(std::uint64_t{1} << level);
  }
}

std::uint32_t LeastPolicy::choose() const noexcept {
  return occupied_ != 0 ? levels_[std::countr_zero(occupied_)].first : kNone;
}

void WeightedPolicy::enter(const FreeServant& servant) noexcept {
  Node& node = nodes_[servant.index];
  node.turn = std::max(node.turn, today_);
  node.weight = servant.weight;
  node.entered = true;
  const std::uint32_t day = day_of(node.turn);
  append<&Node::order>(nodes_, days_[day], servant.index);
  occupied_.set(day);
}

void WeightedPolicy::leave(std::uint32_t servant, bool sent) noexcept {
  Node& node = nodes_[servant];
  node.entered = false;
  const std::uint32_t day = day_of(node.turn);
  remove<&Node::order>(nodes_, days_[day], servant);
  if (days_[day].empty()) {
    occupied_.clear(day);
  }
  if (sent) {
    constexpr std::uint64_t kDay = std::uint64_t{1} << kDayBits;
    // It may have been sent something by another policy, before its turn here: whoever has an
    // earlier one keeps it.
    const std::uint32_t next = choose();
    const std::uint64_t first = next != kNone ? std::min(nodes_[next].turn, node.turn) : node.turn;
    today_ = std::max(today_, first / kDay * kDay);
    node.turn = std::min(node.turn + (kDays - 1) * kDay / node.weight, today_ + (kDays - 1) * kDay);
  }
}

std::uint32_t WeightedPolicy::choose() const noexcept {
  std::uint32_t day = occupied_.first_above(day_of(today_) - 1);  // Today counts as well.
  if (day == kNone) {
    day = occupied_.first();
  }
  return day != kNone ? days_[day].first : kNone;
}

std::unique_ptr<ServantPolicy> make_policy(Policy policy, std::uint32_t servants_max,
                                           const PolicySource* plugin) {
  switch (policy) {
    case Policy::orig:
      return std::make_unique<OrigPolicy>(servants_max);
    case Policy::even:
      return std::make_unique<EvenPolicy>(servants_max);
    case Policy::match:
      return std::make_unique<MatchPolicy>(servants_max);
    case Policy::least:
      return std::make_unique<LeastPolicy>(servants_max);
    case Policy::weighted:
      return std::make_unique<WeightedPolicy>(servants_max);
    case Policy::plugin:
      return plugin != nullptr ? plugin->make(servants_max)
                               : std::make_unique<OrigPolicy>(servants_max);
  }
  return nullptr;
}

}  // namespace mserve::broker
