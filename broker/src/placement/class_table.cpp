// SPDX-License-Identifier: Apache-2.0
#include "placement/class_table.hpp"

#include <algorithm>
#include <utility>

#include "control/servant_tags.hpp"

namespace mserve::broker {

namespace {

/// The same text for the same set of tags. Weights do not make servants different.
std::string sorted_tags(std::string_view tags) {
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

ClassTable::ClassTable(std::uint32_t classes_max, Apart apart)
    : classes_max_(std::min(classes_max, kClassesMax)), apart_(apart), pools_(kPoolsMax) {
  classes_.push_back({.servants = {}, .key = "any"});
}

bool ClassTable::Class::has(std::string_view tags) const {
  return servants.matches(tags) && !(here && is_link(tags));
}

std::string ClassTable::pool_key(std::string_view tags) const {
  if (apart_ == Apart::by_tags) {
    return sorted_tags(tags);
  }
  return is_link(tags) ? std::string(kLinkTag) : std::string();
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

/// The number of this class's twin, which is made if there is none.
std::uint32_t ClassTable::twin_of(std::vector<Class>& classes, std::uint32_t number) {
  if (classes[number].here || classes[number].twin != kNone) {
    return classes[number].here ? number : classes[number].twin;
  }
  const std::uint32_t behind = classes[number].fallback;
  Class twin = classes[number];
  twin.key += "\nhere";  // no tag holds that
  twin.fallback = behind != kNone ? twin_of(classes, behind) : kNone;
  twin.here = true;
  classes.push_back(std::move(twin));
  return classes[number].twin = static_cast<std::uint32_t>(classes.size() - 1);
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
  for (std::uint32_t number = 0; twins_ && number < wanted.size(); ++number) {
    (void)twin_of(wanted, number);
  }
  auto change = adopt(std::move(wanted), fault);
  if (change) {
    rules_.assign(rules.begin(), rules.end());
    numbers_ = std::move(numbers);
    change->placement = placement();
  }
  return change;
}

std::optional<ClassTable::Change> ClassTable::meet(std::string_view tags, std::string& fault) {
  if (twins_ || !is_link(tags)) {
    return Change{{}, placement()};
  }
  std::vector<Class> wanted = classes_;
  for (std::uint32_t number = 0; number < classes_.size(); ++number) {
    (void)twin_of(wanted, number);
  }
  auto change = adopt(std::move(wanted), fault);
  if (change) {
    twins_ = true;
    change->placement = placement();
  }
  return change;
}

/// These classes are from now on; those that are new have to be told.
std::optional<ClassTable::Change> ClassTable::adopt(std::vector<Class> wanted, std::string& fault) {
  if (wanted.size() > classes_max_) {
    fault = "rules have spoken of " + std::to_string(wanted.size()) +
            " sets of servants since the start, each counted twice where there are links to other "
            "brokers, and " +
            std::to_string(classes_max_) +
            " is the most; a restart forgets those that are not used any more";
    return std::nullopt;
  }
  Change change;
  for (std::size_t number = classes_.size(); number < wanted.size(); ++number) {
    PoolSet pools;
    for (std::size_t pool = 0; pool < pools_.size(); ++pool) {
      pools[pool] = pools_[pool].servants != 0 && wanted[number].has(pools_[pool].tags);
    }
    change.classes.push_back({static_cast<std::uint32_t>(number), pools, wanted[number].fallback});
  }
  classes_ = std::move(wanted);
  return change;
}

/// Null where nothing is to be asked: every request is of class 0.
std::shared_ptr<const Placement> ClassTable::placement() const {
  if (rules_.empty() && !twins_) {
    return nullptr;
  }
  std::vector<std::uint32_t> here;
  for (std::uint32_t number = 0; twins_ && number < classes_.size(); ++number) {
    here.push_back(classes_[number].here ? number : classes_[number].twin);
  }
  return std::make_shared<const Placement>(rules_, numbers_, std::move(here));
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
  const auto links = std::count_if(pools_.begin(), pools_.end(), [](const Pool& pool) {
    return pool.servants != 0 && is_link(pool.tags);
  });
  if (is_link(key) && static_cast<std::uint32_t>(links) >= kLinkPoolsMax) {
    return std::nullopt;
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
    classes |= std::uint64_t{classes_[at].has(key)} << at;
  }
  return classes;
}

void ClassTable::leave(std::uint32_t pool) noexcept {
  --pools_[pool].servants;
}

}  // namespace mserve::broker
