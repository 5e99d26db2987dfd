// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_keeper.hpp"

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
  standing_.version = version_in(held_);
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
  if (due && !asking_ && now >= again_at_) {
    begin(now);
  }
}

void DocumentKeeper::begin(std::uint64_t now) {
  trying_ = *wanted_;
  tried_at_epoch_ = epoch_;
  settled_ = true;
  const bool wanted = trying_.version != 0;
  target_ = wanted ? std::optional(to_file(trying_)) : std::nullopt;
  if (wanted) {
    if (const auto faults = hands_.check(trying_.text); !faults.empty()) {
      return settle({standing_.version, trying_.version, short_fault(joined(faults))});
    }
  }
  const std::optional<std::string> there = hands_.read();
  if (!wanted && !there && !held_ && !unsure_) {
    return settle({});  // there never was one, so nobody has to read anything
  }
  if (there != target_) {
    if (const std::string fault = hands_.write(target_); !fault.empty()) {
      settled_ = false;
      again_at_ = now + kAgainNs;
      return settle({standing_.version, trying_.version, short_fault(fault)});
    }
  }
  asking_ = unsure_ = true;
  hands_.reload([this, now](const ReloadAnswer& answer) { answered(answer, now); });
}

void DocumentKeeper::answered(const ReloadAnswer& answer, std::uint64_t now) {
  asking_ = false;
  unsure_ = answer.kind == ReloadAnswer::Kind::silent;
  switch (answer.kind) {
    case ReloadAnswer::Kind::done:
      if (target_ && !answer.document) {
        return take_back("this broker was started without --cluster, so it reads no document");
      }
      held_ = target_;
      return settle({.version = trying_.version});
    case ReloadAnswer::Kind::refused:
      return take_back(answer.text);
    case ReloadAnswer::Kind::silent:
      settled_ = false;
      again_at_ = now + kAgainNs;
      break;
  }
}

/// The broker that is started anew is to find what this one has; and one that was started while the
/// refused one lay there has nothing yet.
void DocumentKeeper::take_back(const std::string& why) {
  DocumentStanding standing{standing_.version, trying_.version, short_fault(why)};
  if (held_ == target_) {
    standing.version = 0;  // nothing else is known to have held here
    return settle(std::move(standing));
  }
  if (const std::string fault = hands_.write(held_); !fault.empty()) {
    standing.fault = short_fault(why + "; what was there cannot be put back: " + fault);
    return settle(std::move(standing));
  }
  asking_ = true;
  hands_.reload([this, standing](const ReloadAnswer& answer) {
    asking_ = false;
    const bool done = answer.kind == ReloadAnswer::Kind::done;
    unsure_ = answer.kind == ReloadAnswer::Kind::silent;
    settle({done ? version_in(held_) : standing.version, standing.refused, standing.fault});
  });
}

void DocumentKeeper::settle(DocumentStanding standing) {
  standing_ = std::move(standing);
  hands_.changed();
}

}  // namespace mserve::cluster
