// SPDX-License-Identifier: Apache-2.0
#include "placement/class_table.hpp"

#include <algorithm>
#include <utility>

#include "control/servant_tags.hpp"

namespace mserve::broker {

namespace {

/// The same text for the same set of tags. Weights do not make servants different.
std::string pool_key(std::string_view tags) {
  std::vector<std::string_view> words;
  while (!tags.empty()) {
    const std::string_view tag = take_tag(tags);
    if (!tag.empty() && !tag.starts_with("weight=")) {
      words.push_back(tag);
    }
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::string key;
  for (const std::string_view word : words) {
    key.append(word).push_back(' ');
  }
  return key;
}

}  // namespace

ClassTable::ClassTable(std::uint32_t classes_max)
    : classes_max_(std::min(classes_max, kClassesMax)), pools_(kPoolsMax) {
  classes_.push_back({{}, "any", kNone});
}

std::uint32_t ClassTable::number_of(std::vector<Class>& classes, const Selector& servants,
                                    std::uint32_t fallback) {
  const std::string key =
      servants.text() + (fallback != kNone ? " else " + classes[fallback].key : "");
  const auto found = std::find_if(classes.begin(), classes.end(),
                                  [&](const Class& known) { return known.key == key; });
  if (found == classes.end()) {
    classes.push_back({servants, key, fallback});
    return static_cast<std::uint32_t>(classes.size() - 1);
  }
  return static_cast<std::uint32_t>(found - classes.begin());
}

std::optional<ClassTable::Change> ClassTable::apply(std::span<const Rule> rules,
                                                    std::string& fault) {
  std::vector<Class> wanted = classes_;
  std::vector<std::uint32_t> numbers;
  for (const Rule& rule : rules) {
    const std::uint32_t fallback =
        rule.otherwise ? number_of(wanted, *rule.otherwise, kNone) : kNone;
    numbers.push_back(number_of(wanted, rule.servants, fallback));
  }
  if (wanted.size() > classes_max_) {
    fault = "rules have spoken of " + std::to_string(wanted.size()) +
            " sets of servants since the start, and " + std::to_string(classes_max_) +
            " is the most; a restart forgets those that are not used any more";
    return std::nullopt;
  }
  Change change;
  for (std::size_t number = classes_.size(); number < wanted.size(); ++number) {
    std::uint64_t pools = 0;
    for (std::size_t pool = 0; pool < pools_.size(); ++pool) {
      const bool in =
          pools_[pool].servants != 0 && wanted[number].servants.matches(pools_[pool].tags);
      pools |= std::uint64_t{in} << pool;
    }
    change.classes.push_back({static_cast<std::uint32_t>(number), pools, wanted[number].fallback});
  }
  classes_ = std::move(wanted);
  any_rules_ = !rules.empty();
  if (!rules.empty()) {
    change.placement = std::make_shared<const Placement>(rules, numbers);
  }
  return change;
}

std::optional<ClassTable::Entry> ClassTable::enter(std::string_view tags) {
  const std::string key = pool_key(tags);
  const auto used = std::find_if(pools_.begin(), pools_.end(), [&](const Pool& pool) {
    return pool.servants != 0 && pool.tags == key;
  });
  if (used != pools_.end()) {
    ++used->servants;
    return Entry{static_cast<std::uint32_t>(used - pools_.begin()), std::nullopt};
  }
  const auto vacant = std::find_if(pools_.begin(), pools_.end(),
                                   [](const Pool& pool) { return pool.servants == 0; });
  if (vacant == pools_.end()) {
    return std::nullopt;
  }
  *vacant = {key, 1};
  const auto number = static_cast<std::uint32_t>(vacant - pools_.begin());
  return Entry{number, PoolDefined{number, classes_with(key)}};
}

std::uint64_t ClassTable::classes_of(std::string_view tags) const {
  return classes_with(pool_key(tags));
}

std::uint64_t ClassTable::classes_with(std::string_view key) const {
  std::uint64_t classes = 0;
  for (std::size_t at = 0; at < classes_.size(); ++at) {
    classes |= std::uint64_t{classes_[at].servants.matches(key)} << at;
  }
  return classes;
}

void ClassTable::leave(std::uint32_t pool) noexcept {
  --pools_[pool].servants;
}

}  // namespace mserve::broker
