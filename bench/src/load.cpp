// SPDX-License-Identifier: Apache-2.0
#include "load.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "own_broker.hpp"
#include "pace.hpp"
#include "run.hpp"

namespace mserve::bench {
namespace {

constexpr std::size_t kGaps = 1U << 16;
/// Requests under way, at most, in an open loop; what is beyond waits, and its latency counts.
constexpr std::uint64_t kUnderWayMax = 1U << 12;
constexpr std::uint64_t kUnsentPerLook = 1U << 12;

std::uint64_t since(std::uint64_t begin_ns) {
  return shm::steady_now() - begin_ns;
}

}  // namespace

std::vector<double> poisson_gaps(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> gaps(kGaps);
  for (double& gap : gaps) {
    gap = -std::log1p(-static_cast<double>(random() >> 11) * 0x1p-53);
  }
  return gaps;
}

std::vector<double> even_gaps() {
  return {1.0};
}

Load::Load(const TripOptions& options, bool with_servant)
    : servant_(with_servant ? std::optional(attach(options, shm::Role::servant)) : std::nullopt),
      client_(attach(options, shm::Role::client)),
      request_(options.payload_bytes, std::byte{'x'}),
      answer_(options.payload_bytes),
      idler_(with_servant ? shm::IdleStrategy::spin : options.idle) {
  header_.flags = shm::kFlagOpaque;
  header_.aux = kRoute;
}

bool Load::serve() {
  shm::FrameView view;
  bool any = false;
  for (int i = 0; i < kBatch && servant_->incoming().front(view) == Errc::ok; ++i) {
    if (!try_echo(*servant_, view)) {
      break;
    }
    any = true;
  }
  return any;
}

template <class OnAnswer>
bool Load::take_answers(OnAnswer on_answer) {
  shm::FrameView view;
  Errc code = Errc::empty;
  int taken = 0;
  for (; taken < kBatch && (code = client_.incoming().front(view)) == Errc::ok; ++taken) {
    const shm::ReplyAux aux = shm::unpack_reply(view.header.aux);
    if (view.header.kind != shm::Kind::reply || aux.status != 0 ||
        view.payload.size() != answer_.size() || view.header.id == 0 || view.header.id > sent_)
        [[unlikely]] {
      fail(std::string("the answer is not the expected one: ") +
           to_string(static_cast<Errc>(aux.status)));
    }
    if (!answer_.empty()) {
      std::memcpy(answer_.data(), view.payload.data(), view.payload.size());
    }
    client_.incoming().release();
    ++answered_;
    on_answer(view.header.id);
  }
  if (taken < kBatch && code != Errc::empty) {
    fail("the broker sent a frame that is none");
  }
  return taken > 0;
}

bool Load::send_one() {
  header_.id = sent_ + 1;
  if (!shm::try_send_whole(client_.outgoing(), header_, {}, request_)) {
    return false;
  }
  ++sent_;
  client_.wake_broker();
  return true;
}

void Load::rest(bool worked) {
  if (worked) {
    idler_.reset();
    idle_passes_ = 0;
    return;
  }
  if (idler_.idle() == shm::Idler::Step::park) {
    // Whatever it returns, the ring tells the rest.
    (void)client_.wait(shm::steady_now() + shm::kSleepNsMax, shm::SleepOn::futex);
    check_alive(client_);
  } else {
    watch();
  }
}

void Load::watch() {
  if (++idle_passes_ == kPollsPerCheck) [[unlikely]] {
    idle_passes_ = 0;
    check_alive(client_);
  }
}

double Load::saturate(std::uint32_t window, std::uint64_t duration_ns) {
  const auto pass = [&](std::uint64_t under_way_max) {
    bool worked = false;
    for (int i = 0; i < kBatch && sent_ - answered_ < under_way_max && send_one(); ++i) {
      worked = true;
    }
    worked = (servant_ && serve()) || worked;
    worked = take_answers([](std::uint64_t) {}) || worked;
    rest(worked);
  };
  const auto run_for = [&](std::uint64_t ns) {
    const std::uint64_t begin_ns = shm::steady_now();
    const std::uint64_t before = answered_;
    while (since(begin_ns) < ns && !interrupted()) {
      for (int i = 0; i < kPassesPerLook; ++i) {
        pass(window);
      }
    }
    return static_cast<double>(answered_ - before) * 1e9 / static_cast<double>(since(begin_ns));
  };
  try {
    const auto warm_up_ns =
        static_cast<std::uint64_t>(static_cast<double>(duration_ns) * kWarmUpShare);
    (void)run_for(warm_up_ns);
    const double rate = run_for(duration_ns - warm_up_ns);
    while (answered_ < sent_ && !interrupted()) {
      pass(0);
    }
    return rate;
  } catch (const Interrupted&) {
    return 0;  // the caller looks at interrupted() too
  }
}

Load::OpenLoop Load::open_loop(const Timer& timer, const std::vector<double>& gaps,
                               double per_second, std::uint64_t duration_ns,
                               shm::Histogram& samples) {
  const double ticks_per_ns = timer.ticks_per_us() / 1000;
  const auto ticks = [ticks_per_ns](double ns) {
    return static_cast<std::uint64_t>(ns * ticks_per_ns);
  };
  const double gap_ticks = 1e9 / per_second * ticks_per_ns;
  std::vector<std::uint64_t> meant(kUnderWayMax);  // by id
  const std::uint64_t begin = timer.read();
  const std::uint64_t count_from = begin + ticks(static_cast<double>(duration_ns) * kWarmUpShare);
  const std::uint64_t end = begin + ticks(static_cast<double>(duration_ns));
  const std::uint64_t give_up = begin + ticks(2 * static_cast<double>(duration_ns));
  const auto record = [&](std::uint64_t due, std::uint64_t now) {
    if (due >= count_from) {
      samples.record(timer.to_ns(now - due));
    }
  };
  OpenLoop result;
  std::size_t gap = 0;
  double due = 0;
  std::uint64_t now = begin;
  const auto next_due = [&] {
    ++result.meant;
    if (per_second == kAtOnce) {
      return now;
    }
    due += gaps[gap] * gap_ticks;
    gap = gap + 1 == gaps.size() ? 0 : gap + 1;
    return begin + static_cast<std::uint64_t>(due);
  };
  std::uint64_t in_time = 0;
  const auto on_answer = [&](std::uint64_t id) {
    const std::uint64_t at = timer.read();
    record(meant[id % kUnderWayMax], at);
    in_time += at >= count_from && at < end ? 1 : 0;
  };
  try {
    std::uint64_t next = next_due();
    while ((next < end || answered_ < sent_) && !interrupted()) {
      now = timer.read();
      bool worked = false;
      while (next <= now && next < end && now < give_up && sent_ - answered_ < kUnderWayMax) {
        meant[(sent_ + 1) % kUnderWayMax] = next;
        if (!send_one()) {
          break;
        }
        worked = true;
        next = next_due();
      }
      worked = (servant_ && serve()) || worked;
      worked = take_answers(on_answer) || worked;
      if (now >= give_up) {
        for (; next < end && !(result.unsent % kUnsentPerLook == 0 && interrupted());
             next = next_due()) {
          record(next, now);
          ++result.unsent;
        }
      }
      if (servant_) {
        rest(worked);
      } else if (!worked) {
        // Awake, or it would be late; but others may need the core.
        (void)sched_yield();
        watch();
      }
    }
    --result.meant;  // the one beyond the end
    result.answered_per_s =
        static_cast<double>(in_time) * 1e9 / static_cast<double>(timer.to_ns(end - count_from));
  } catch (const Interrupted&) {
    // The caller looks at interrupted() too.
  }
  return result;
}

void with_load(const LoadSettings& settings, const std::function<void(Load&)>& use) {
  const auto idle = settings.processes ? shm::IdleStrategy::automatic : shm::IdleStrategy::spin;
  OwnBroker broker(settings.broker_path, idle,
                   settings.processes ? std::nullopt : std::optional(settings.cores.relaying));
  if (interrupted()) {
    return;
  }
  TripOptions options = broker.trip_options(settings.payload_bytes);
  options.credit = settings.window;
  options.idle = idle;
  if (settings.processes) {
    broker.start_echo_servant(options);
  }
  if (interrupted()) {
    return;
  }
  const PinnedIf pinned(!settings.processes, settings.cores.measuring);
  Load load(options, !settings.processes);
  use(load);
}

}  // namespace mserve::bench
