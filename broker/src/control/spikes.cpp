// SPDX-License-Identifier: Apache-2.0
// The control plane and its reserve: servants that are launched while requests wait for long.
#include <algorithm>

#include "control/control_plane.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr Nanos kLookMax = 100 * kMillisecond;
constexpr Nanos kLookMin = 5 * kMillisecond;
constexpr Nanos kLooksPerBound = 4;  // so that a start is late by a quarter of the bound at most
constexpr std::uint64_t kRunningMask = UINT32_MAX;

}  // namespace

/// How long the control thread may sleep for the reserve's sake.
Nanos ControlPlane::reserve_look_ns() const noexcept {
  if (!reserve_.any()) {
    return kLookMax;
  }
  const Nanos bound = std::min(options_.reserve_after, options_.reserve_idle) / kLooksPerBound;
  return reserve_.leaving() ? kLookMin : std::clamp(bound, kLookMin, kLookMax);
}

void ControlPlane::advance_reserve() {
  const Nanos now = shm::steady_now();
  if (!reserve_.any() || !launcher_lives_ || now < reserve_look_at_) {
    return;
  }
  reserve_look_at_ = now + reserve_look_ns();
  look_at_use(now);
  // Two clocks, so the request may seem to come from the future.
  const Nanos oldest = links_.data->oldest_queued();
  const Nanos age = oldest < now ? now - oldest : 0;
  if (const auto leaving = reserve_.leaving()) {
    advance_leaving(*leaving, now, age);
  }
  if (const auto servant = reserve_.start(now, age)) {
    log(LogLevel::info, "reserve_started",
        {{"launched", *servant}, {"queue_age_ms", age / kMillisecond}});
    launcher_.start(*servant);
  }
  if (const auto servant = reserve_.hold(now, age)) {
    hold_launched(*servant, true);
    reserve_look_at_ = now + kLookMin;
  }
}

/// Which of the reserve were used since the last look, or are not ours to stop.
void ControlPlane::look_at_use(Nanos now) {
  for_servants([&](const Session& session, Servant& servant) {
    if (!reserve_.covers(servant.launched)) {
      return;
    }
    // Two numbers of which each says something by itself.
    const std::uint64_t told = session.told.load(std::memory_order_relaxed);  // see above
    const std::uint64_t load = session.load.load(std::memory_order_relaxed);  // see above
    const bool ran = told != servant.told || (load & kRunningMask) != 0;
    servant.told = told;
    // Being held is told as well, and is no use.
    if ((ran || is_aside(servant)) && reserve_.state(servant.launched) == Reserve::State::started) {
      reserve_.used(servant.launched, now);
    }
  });
}

/// Whoever an operator has paused, or somebody has stopped, is theirs.
bool ControlPlane::is_aside(const Servant& servant) noexcept {
  return servant.hold.has(ServantHold::Reason::paused) ||
         servant.hold.has(ServantHold::Reason::stopped);
}

/// The one that is held ends if it runs nothing; the one that ended rests.
void ControlPlane::advance_leaving(std::uint32_t number, Nanos now, Nanos age) {
  if (reserve_.state(number) == Reserve::State::ending) {
    if (gone(number)) {
      reserve_.ended(number);
      launched_failing_.erase(number);  // what is asked from here on can wait for it
      look_at_expected();
    }
    return;
  }
  bool obeyed = true;
  bool dry = true;
  for_servants([&](const Session& session, const Servant& servant) {
    if (servant.launched == number) {
      const std::uint64_t load = session.load.load(std::memory_order_relaxed);  // one word
      obeyed = obeyed && servant.hold.obeyed(load);
      dry = dry && servant.hold.dry(load) && !is_aside(servant);
    }
  });
  if (obeyed && dry) {
    log(LogLevel::info, "reserve_stopped",
        {{"launched", number},
         {"idle_ms", reserve_.idle(number, now) / kMillisecond},
         {"queue_age_ms", age / kMillisecond}});
    reserve_.end(number);
    launcher_.rest(number);
  } else if (obeyed) {
    call_off_reserve();  // a request, or an operator, was faster
  }
}

/// Whether nothing of a launched servant is left, neither processes nor sessions.
bool ControlPlane::gone(std::uint32_t number) const {
  const auto& programs = launcher_.programs();
  for (std::size_t i = 0; i < programs.size(); ++i) {
    if (programs[i].servant == number && launched_pids_[i] != 0) {
      return false;
    }
  }
  return std::none_of(servants_.begin(), servants_.end(),
                      [number](const Servant& one) { return one.launched == number; });
}

/// If one is held, it serves on.
void ControlPlane::call_off_reserve() {
  const auto number = reserve_.leaving();
  if (number && reserve_.state(*number) == Reserve::State::held) {
    reserve_.keep(*number, shm::steady_now());
    hold_launched(*number, false);
  }
}

/// All sessions of a launched servant.
void ControlPlane::hold_launched(std::uint32_t number, bool there) {
  for_servants([&](const Session& session, const Servant& servant) {
    if (servant.launched == number) {
      hold(session, ServantHold::Reason::spare, there);
    }
  });
}

/// Finds out whether an attached servant is of the reserve. @return true: that one is to get
/// nothing.
bool ControlPlane::join_reserve(const Session& session) {
  std::uint32_t& launched = servants_[session.number].launched;
  if (!reserve_.any() || launched != 0) {
    return false;
  }
  launched = launched_servant_of(session.pid);
  if (!reserve_.covers(launched)) {
    return false;
  }
  reserve_.used(launched, shm::steady_now());
  const Reserve::State state = reserve_.state(launched);
  return state == Reserve::State::held || state == Reserve::State::ending;
}

/// A servant may attach before the launcher has told whose process it is.
void ControlPlane::find_reserve_sessions() {
  for_servants([this](const Session& session, const Servant&) {
    if (join_reserve(session)) {
      hold(session, ServantHold::Reason::spare, true);
    }
  });
}

}  // namespace mserve::broker
