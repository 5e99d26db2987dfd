// SPDX-License-Identifier: Apache-2.0
#include "stat/live_broker.hpp"

#include <utility>

#include "mserve/shm/clock.hpp"

namespace mserve::stat {

const char* to_string(Presence presence) noexcept {
  switch (presence) {
    case Presence::there:
      return "ok";
    case Presence::stuck:
      return "stuck";
    case Presence::gone:
      break;
  }
  return "no_broker";
}

/// Asks which broker is there.
LiveBroker::Found LiveBroker::find() {
  constexpr std::uint64_t kAskNs = 300'000'000;  // it answers within microseconds, if it runs
  std::string reason;
  auto reader = open_monitor(broker_, kAskNs, reason);
  asked_at_ = shm::steady_now();
  if (!reader) {
    const Errc code = reader.error().code;
    // A process that is stopped lets others connect, and does not answer.
    const bool stopped = code == Errc::timed_out && reader_;
    presence_ = stopped ? Presence::stuck : Presence::gone;
    reason_ = stopped ? "the broker does not answer; it is stopped, or hangs"
                      : (reason.empty() ? advice(code) : reason);
    return Found::none;
  }
  if (reader_ && reader.value().broker_epoch() == reader_->broker_epoch()) {
    return Found::same;
  }
  reader_.emplace(std::move(reader).value());
  return Found::another;
}

bool LiveBroker::look() {
  // A broker that was killed leaves what it showed, so whether there is one is asked anew.
  const bool doubtful =
      !reader_ || presence_ != Presence::there || stale(view_.now) || !reader_->current();
  const Found found = doubtful ? find() : Found::same;
  if (found == Found::none) {
    return false;
  }
  View next{.now = reader_->snapshot()};
  if (seen_ && found == Found::same) {
    next.before = std::move(view_.now);
  }
  view_ = std::move(next);
  seen_ = true;
  const bool stuck = stale(view_.now);
  presence_ = stuck ? Presence::stuck : Presence::there;
  reason_ = stuck ? "the broker shows nothing new; it is stopped, or its data thread hangs" : "";
  return found == Found::another;
}

}  // namespace mserve::stat
