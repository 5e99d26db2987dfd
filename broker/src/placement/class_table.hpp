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

/// Of kPoolsMax, so many may be of links.
inline constexpr std::uint32_t kLinkPoolsMax = kPoolsMax - 32;

/// Numbers the classes that rules speak of and the pools that servants form: the Dispatcher knows
/// only numbers. A class once numbered keeps its number, so what is queued is not touched when
/// rules change. The control thread's.
///
/// What came from another broker is not to leave this one: from the first link on (a servant tagged
/// `peer=ID`) each class has a twin, the same servants without links, with the twin of its fallback
/// as fallback. Twins count as classes. Before that there are none, and all servants are here.
class ClassTable {
 public:
  /// Which servants are told apart.
  enum class Apart : std::uint8_t {
    by_tags,  ///< All that differ in tags.
    links,    ///< Only links from the others: rules can never come.
  };
  /// @param classes_max  as Limits::classes_max.
  explicit ClassTable(std::uint32_t classes_max, Apart apart = Apart::by_tags);

  /// What the data thread has to be told when rules begin to hold: `classes` before `placement`.
  struct Change {
    std::vector<ClassDefined> classes;
    std::shared_ptr<const Placement> placement;
  };
  /// Null with `fault` set if these rules need more classes than there is room for; nothing has
  /// changed then.
  [[nodiscard]] std::optional<Change> apply(std::span<const Rule> rules, std::string& fault);

  /// A servant with these tags is about to enter: makes the twins, if it is the first link.
  /// @return what the data thread has to be told; null with `fault` set if there is no room for
  /// them, and then nothing has changed.
  [[nodiscard]] std::optional<Change> meet(std::string_view tags, std::string& fault);

  /// Whether rules hold that may ask about a request.
  [[nodiscard]] bool any_rules() const noexcept { return !rules_.empty(); }

  struct Entry {
    std::uint32_t pool = 0;
    std::optional<PoolDefined> define;  ///< To be told to the data thread before the servant joins.
  };
  /// A servant with these tags attaches. Nothing: kPoolsMax different sets of tags are attached, or
  /// kLinkPoolsMax of links, which never take the last places of the servants here.
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
    bool here = false;           // Without links: a twin.
    std::uint32_t twin = kNone;  // Its own, or kNone before there are any.

    [[nodiscard]] bool has(std::string_view tags) const;
  };
  struct Pool {
    std::string tags;  // Sorted, without weight; empty and unused at first.
    std::uint32_t servants = 0;
  };
  [[nodiscard]] static std::uint32_t number_of(std::vector<Class>& classes,
                                               const Selector& servants, std::uint32_t fallback);

  static std::uint32_t twin_of(std::vector<Class>& classes, std::uint32_t number);

  [[nodiscard]] std::string pool_key(std::string_view tags) const;
  [[nodiscard]] std::uint64_t classes_with(std::string_view key) const;
  [[nodiscard]] std::optional<Change> adopt(std::vector<Class> wanted, std::string& fault);
  [[nodiscard]] std::shared_ptr<const Placement> placement() const;

  std::uint32_t classes_max_;
  Apart apart_;
  bool twins_ = false;  // There are, and each new class gets one.
  std::vector<Class> classes_;
  std::vector<Pool> pools_;
  std::vector<Rule> rules_;             // Those that hold.
  std::vector<std::uint32_t> numbers_;  // For each the class of its servants.
};

}  // namespace mserve::broker
