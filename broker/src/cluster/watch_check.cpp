// SPDX-License-Identifier: Apache-2.0
#include "cluster/watch_check.hpp"

#include <utility>

namespace mserve::cluster {

void WatchCheck::listed(const Listing& all) {
  keys_.clear();
  for (const KeyValue& kv : all.all) {
    keys_.insert(kv.key);
  }
  unseen_ = all.count - static_cast<std::int64_t>(keys_.size());
  counted_ = countable_ = !all.more;
  late_.reset();
}

void WatchCheck::told(const WatchAnswer& answer) {
  // Whether a key that was skipped was there before, nobody knows.
  counted_ = counted_ && answer.skipped == 0;
  for (const WatchEvent& event : answer.events) {
    if (event.removed) {
      keys_.erase(event.kv.key);
    } else if (keys_.size() < kKeysMax) {
      keys_.insert(event.kv.key);
    } else {
      counted_ = countable_ = false;
    }
  }
}

WatchCheck::Verdict WatchCheck::judge(const Newest& newest, std::int64_t revision) {
  if (countable_ && !counted_) {
    unseen_ = newest.count - static_cast<std::int64_t>(keys_.size());
    counted_ = true;
  }
  const bool miscounted =
      counted_ && newest.count != static_cast<std::int64_t>(keys_.size()) + unseen_;
  const std::optional<Newest> late = std::exchange(late_, std::nullopt);
  if (late) {
    return late->revision > revision || (miscounted && late->count == newest.count)
               ? Verdict::silent
               : Verdict::fine;
  }
  if (newest.revision > revision || miscounted) {
    late_ = newest;
    return Verdict::late;
  }
  return Verdict::fine;
}

}  // namespace mserve::cluster
