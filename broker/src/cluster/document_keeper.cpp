// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_keeper.hpp"

#include <algorithm>
#include <utility>

#include "cluster/json_fields.hpp"

namespace mserve::cluster {

namespace {

std::int64_t version_in(const std::optional<std::string>& file) {
  return file ? from_file(*file).version : 0;
}

std::string joined(const std::vector<std::string>& faults) {
  std::string all;
  for (const std::string& fault : faults) {
    all.append(all.empty() ? "" : "; ").append(fault);
  }
  return all;
}

}  // namespace

std::string short_fault(std::string_view text) {
  constexpr std::string_view kMore = " ...";
  if (text.size() <= kFaultBytesMax) {
    return shown(text, kFaultBytesMax);
  }
  return shown(text, kFaultBytesMax - kMore.size()).append(kMore);
}

DocumentKeeper::DocumentKeeper(Hands hands) : hands_(std::move(hands)), held_(hands_.read()) {
  (void)hands_.stage(std::nullopt);  // left by one that was killed
  if (const Document document = held(); document.version != 0) {
    want(document);
  }
}

Document DocumentKeeper::held() const {
  return held_ ? from_file(*held_) : Document{};
}

void DocumentKeeper::want(const Document& document) {
  if (!wanted_ || *wanted_ != document) {
    wanted_ = document;
    settled_ = false;
    again_at_ = 0;
  }
}

void DocumentKeeper::tick(std::uint64_t epoch, std::uint64_t now) {
  epoch_ = epoch;
  const bool due = wanted_ && epoch != 0 && (!settled_ || tried_at_epoch_ != epoch);
  if (due && !asking_ && now >= again_at_ && may_begin(now)) {
    begin(now);
  }
}

/// Whoever writes all the time is not to keep the broker reading.
bool DocumentKeeper::may_begin(std::uint64_t now) {
  if (const std::uint64_t earned = (now - refilled_at_) / kAgainNs; earned > 0) {
    refilled_at_ = now;
    left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(left_ + earned, kAtOnce));
  }
  if (left_ == 0) {
    return false;
  }
  --left_;
  return true;
}

void DocumentKeeper::begin(std::uint64_t now) {
  const bool taken = std::exchange(unkept_, false) && tried_at_epoch_ == epoch_;
  const bool same = std::exchange(trying_, *wanted_) == *wanted_;
  tried_at_epoch_ = epoch_;
  settled_ = true;
  if (taken && same) {
    return keep(now);
  }
  target_ = to_file(trying_);
  if (const auto faults = hands_.check(trying_.text); !faults.empty()) {
    return take_back(joined(faults), unsure_);
  }
  if (const std::string fault = hands_.stage(target_); !fault.empty()) {
    return try_again({standing_.version, trying_.version, short_fault(fault)}, now);
  }
  asking_ = true;
  hands_.reload([this, now, doubt = std::exchange(unsure_, true)](const ReloadAnswer& answer) {
    answered(answer, doubt, now);
  });
}

/// @param doubt  whether nobody knew what the broker had when it was asked.
void DocumentKeeper::answered(const ReloadAnswer& answer, bool doubt, std::uint64_t now) {
  asking_ = false;
  unsure_ = answer.kind == ReloadAnswer::Kind::silent;
  switch (answer.kind) {
    case ReloadAnswer::Kind::done:
      if (!answer.document) {
        return take_back("this broker was started without --cluster, so it reads no document",
                         doubt);
      }
      held_ = target_;
      return keep(now);
    case ReloadAnswer::Kind::refused:
      return take_back(answer.text, doubt);
    case ReloadAnswer::Kind::silent:
      settled_ = false;
      again_at_ = now + kAgainNs;
      break;
  }
}

/// What the broker has taken it is to find again.
void DocumentKeeper::keep(std::uint64_t now) {
  const std::string fault = hands_.keep(target_);
  unkept_ = !fault.empty();
  if (unkept_) {
    return try_again({trying_.version, trying_.version,
                      short_fault("it holds, but not once this broker starts anew: " + fault)},
                     now);
  }
  settle({.version = trying_.version});
}

/// What the broker refuses it is not to find again. It has what it had, and reads that once more if
/// nobody knows what that was.
void DocumentKeeper::take_back(const std::string& why, bool doubt) {
  DocumentStanding standing{standing_.version, trying_.version, short_fault(why)};
  if (const std::string fault = hands_.stage(std::nullopt); !fault.empty()) {
    standing.fault = short_fault(why + "; it cannot be taken away: " + fault);
  }
  if (held_ == target_) {
    standing.version = 0;  // nothing else is known to have held here
  } else if (doubt) {
    asking_ = true;
    hands_.reload([this, standing](const ReloadAnswer& answer) {
      asking_ = false;
      const bool done = answer.kind == ReloadAnswer::Kind::done;
      unsure_ = answer.kind == ReloadAnswer::Kind::silent;
      settle({done ? version_in(held_) : standing.version, standing.refused, standing.fault});
    });
    return;
  }
  settle(std::move(standing));
}

void DocumentKeeper::try_again(DocumentStanding standing, std::uint64_t now) {
  settled_ = false;
  again_at_ = now + kAgainNs;
  settle(std::move(standing));
}

void DocumentKeeper::settle(DocumentStanding standing) {
  standing_ = std::move(standing);
  hands_.changed();
}

}  // namespace mserve::cluster
