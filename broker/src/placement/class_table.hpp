// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dispatch/types.hpp"
#include "placement/placement.hpp"

namespace mserve::broker {

/// Numbers the classes that rules speak of and the pools that servants form: the Dispatcher knows
/// only numbers. A class once numbered keeps its number, so what is queued is not touched when
/// rules change. The control thread's.
class ClassTable {
 public:
  /// @param classes_max  as Limits::classes_max.
  explicit ClassTable(std::uint32_t classes_max);

  /// What the data thread has to be told when rules begin to hold: `classes` before `placement`.
  struct Change {
    std::vector<ClassDefined> classes;
    std::shared_ptr<const Placement> placement;
  };
  /// Null with `fault` set if these rules need more classes than there is room for; nothing has
  /// changed then.
  [[nodiscard]] std::optional<Change> apply(std::span<const Rule> rules, std::string& fault);

  /// Whether rules hold that may ask about a request.
  [[nodiscard]] bool any_rules() const noexcept { return any_rules_; }

  struct Entry {
    std::uint32_t pool = 0;
    std::optional<PoolDefined> define;  ///< To be told to the data thread before the servant joins.
  };
  /// A servant with these tags attaches. Nothing: kPoolsMax different sets of tags are attached.
  [[nodiscard]] std::optional<Entry> enter(std::string_view tags);
  /// The classes that a servant with these tags is in, as bits.
  [[nodiscard]] std::uint64_t classes_of(std::string_view tags) const;
  /// A servant of this pool is gone for good.
  void leave(std::uint32_t pool) noexcept;

 private:
  struct Class {
    Selector servants;
    std::string key;  // Servants and fallback; what makes it one class.
    std::uint32_t fallback = kNone;
  };
  struct Pool {
    std::string tags;  // Sorted, without weight; empty and unused at first.
    std::uint32_t servants = 0;
  };
  [[nodiscard]] static std::uint32_t number_of(std::vector<Class>& classes,
                                               const Selector& servants, std::uint32_t fallback);

  [[nodiscard]] std::uint64_t classes_with(std::string_view key) const;

  std::uint32_t classes_max_;
  std::vector<Class> classes_;
  std::vector<Pool> pools_;
  bool any_rules_ = false;
};

}  // namespace mserve::broker
