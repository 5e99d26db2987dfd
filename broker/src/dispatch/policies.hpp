// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "dispatch/bitmap.hpp"
#include "dispatch/large_array.hpp"
#include "dispatch/node_list.hpp"
#include "dispatch/types.hpp"

// Which of several free servants gets a request: one small class per policy. Each keeps the free
// servants in the order that it needs, so that choosing one costs a handful of loads however many
// there are. Affinity is not decided here: under `match` the Dispatcher asks only if no holder of
// the request's route is free and the request need not wait for a busy one.
namespace mserve::broker {

/// A servant of tier 0 that became free, as a policy sees it.
struct FreeServant {
  std::uint32_t index = 0;
  std::uint32_t outstanding = 0;  ///< What it runs already; above 0 only with more than one credit.
  std::uint32_t weight = 1;       ///< 1 to kWeightMax.
  std::uint32_t routes = 0;       ///< How many routes it holds.
  bool room = true;               ///< It could hold one more without giving one up.
};

class ServantPolicy {
 public:
  ServantPolicy() = default;
  ServantPolicy(const ServantPolicy&) = delete;
  ServantPolicy& operator=(const ServantPolicy&) = delete;
  virtual ~ServantPolicy() = default;

  /// A new servant has this index: what was known of the one before holds no more. Before enter().
  virtual void renew(std::uint32_t /*servant*/) noexcept {}
  /// It may be chosen from now on. Never told twice without leave() in between.
  virtual void enter(const FreeServant& servant) noexcept = 0;
  /// It may not be chosen any more; it entered before. @param sent  a request is being sent to it,
  /// by this policy's choice or by affinity. One with credit left enters again after that.
  virtual void leave(std::uint32_t servant, bool sent) noexcept = 0;
  /// leave() and enter() in one: it was sent a request, or finished one, and stays free.
  virtual void stay(const FreeServant& servant, bool sent) noexcept {
    leave(servant.index, sent);
    enter(servant);
  }
  /// One that entered and did not leave; kNone if there is none.
  [[nodiscard]] virtual std::uint32_t choose() const noexcept = 0;
  /// Whether it may be chosen. For tests: may be slow.
  [[nodiscard]] virtual bool contains(std::uint32_t servant) const noexcept = 0;
};

/// `orig`: the first one from the top.
class OrigPolicy final : public ServantPolicy {
 public:
  explicit OrigPolicy(std::uint32_t servants_max) : free_(servants_max) {}
  void enter(const FreeServant& servant) noexcept override { free_.set(servant.index); }
  void leave(std::uint32_t servant, bool /*sent*/) noexcept override { free_.clear(servant); }
  void stay(const FreeServant& /*servant*/, bool /*sent*/) noexcept override {}
  [[nodiscard]] std::uint32_t choose() const noexcept override { return free_.first(); }
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return free_.test(servant);
  }

 private:
  Bitmap free_;
};

/// `even`: the next one after the last one used, wrapping.
class EvenPolicy final : public ServantPolicy {
 public:
  explicit EvenPolicy(std::uint32_t servants_max) : free_(servants_max) {}
  void enter(const FreeServant& servant) noexcept override { free_.set(servant.index); }
  void leave(std::uint32_t servant, bool sent) noexcept override;
  void stay(const FreeServant& servant, bool sent) noexcept override {
    last_ = sent ? servant.index : last_;
  }
  [[nodiscard]] std::uint32_t choose() const noexcept override;
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return free_.test(servant);
  }

 private:
  Bitmap free_;
  std::uint32_t last_ = kNone;
};

/// `match`, where affinity decides nothing: one that holds and runs nothing, the first from the
/// top; else the least recently used of those that run nothing and have room for one more route;
/// else the least recently used.
class MatchPolicy final : public ServantPolicy {
 public:
  explicit MatchPolicy(std::uint32_t servants_max) : bare_(servants_max), nodes_(servants_max) {}
  void enter(const FreeServant& servant) noexcept override;
  void leave(std::uint32_t servant, bool sent) noexcept override;
  void stay(const FreeServant& servant, bool sent) noexcept override;
  [[nodiscard]] std::uint32_t choose() const noexcept override;
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return nodes_[servant].where != Where::out;
  }

 private:
  enum class Where : std::uint8_t { out, bare, roomy, used };
  struct Node {
    Links order;
    Where where = Where::out;
  };
  [[nodiscard]] static Where place_of(const FreeServant& servant) noexcept {
    if (servant.outstanding != 0) {
      return Where::used;
    }
    return servant.routes == 0 ? Where::bare : servant.room ? Where::roomy : Where::used;
  }
  Bitmap bare_;
  List roomy_;
  List used_;
  LargeArray<Node> nodes_;
};

/// `least`: one that runs least; of several the least recently used.
class LeastPolicy final : public ServantPolicy {
 public:
  explicit LeastPolicy(std::uint32_t servants_max) : nodes_(servants_max) {}
  void enter(const FreeServant& servant) noexcept override;
  void leave(std::uint32_t servant, bool sent) noexcept override;
  [[nodiscard]] std::uint32_t choose() const noexcept override;
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return nodes_[servant].level != kNone;
  }

 private:
  static constexpr std::uint32_t kLevels = 64;  // The last one: that many or more.
  struct Node {
    Links order;
    std::uint32_t level = kNone;
  };
  List levels_[kLevels];
  std::uint64_t occupied_ = 0;  // Which of them are not empty.
  LargeArray<Node> nodes_;
};

/// `weighted`: each free servant in proportion to its weight, smoothly: with weights 2 and 1 it is
/// a, b, a, a, b, a. A servant's turn comes a span of virtual time after its last one, the shorter
/// the higher its weight; turns wait in a calendar of that time. What a servant misses while it is
/// not free is not made up for.
class WeightedPolicy final : public ServantPolicy {
 public:
  explicit WeightedPolicy(std::uint32_t servants_max) : occupied_(kDays), nodes_(servants_max) {}
  void renew(std::uint32_t servant) noexcept override { nodes_[servant].turn = 0; }
  void enter(const FreeServant& servant) noexcept override;
  void leave(std::uint32_t servant, bool sent) noexcept override;
  [[nodiscard]] std::uint32_t choose() const noexcept override;
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return nodes_[servant].entered;
  }

 private:
  static constexpr std::uint32_t kDays = 1024;   // Of the calendar, which is used round and round.
  static constexpr std::uint32_t kDayBits = 16;  // Virtual time within a day.
  static_assert(kWeightMax < kDays, "the highest weight has a turn a day, the lowest one in all");
  struct Node {
    Links order;
    std::uint64_t turn = 0;  // Virtual time.
    std::uint32_t weight = 1;
    bool entered = false;
  };
  [[nodiscard]] static std::uint32_t day_of(std::uint64_t turn) noexcept {
    return static_cast<std::uint32_t>(turn >> kDayBits) % kDays;
  }
  List days_[kDays];
  Bitmap occupied_;  // Which of them are not empty.
  LargeArray<Node> nodes_;
  std::uint64_t today_ = 0;  // When today began; no turn is earlier, none a whole calendar later.
};

/// Makes policies that are not among those above.
class PolicySource {
 public:
  PolicySource() = default;
  PolicySource(const PolicySource&) = delete;
  PolicySource& operator=(const PolicySource&) = delete;
  virtual ~PolicySource() = default;
  /// One more instance, over servants below `servants_max`. Not null. @throws std::bad_alloc
  [[nodiscard]] virtual std::unique_ptr<ServantPolicy> make(std::uint32_t servants_max) const = 0;
};

/// A policy over servants below `servants_max`. @throws std::bad_alloc
/// @param plugin  makes Policy::plugin; null: that is `orig`.
[[nodiscard]] std::unique_ptr<ServantPolicy> make_policy(Policy policy, std::uint32_t servants_max,
                                                         const PolicySource* plugin = nullptr);

}  // namespace mserve::broker
