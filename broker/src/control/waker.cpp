// SPDX-License-Identifier: Apache-2.0
#include "control/waker.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "control/wake_peer.hpp"
#include "control/waker_pace.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"

namespace mserve::broker {

namespace {

void sleep_ns(std::uint64_t ns) {
  const timespec span{0, static_cast<long>(ns)};
  (void)nanosleep(&span, nullptr);
}

}  // namespace

Waker::Waker(Queue<Wake>& wakes, Queue<Report>& reports, int report_fd,
             const shm::Counter& requests)
    : wakes_(wakes), reports_(reports), report_fd_(report_fd), requests_(requests), thread_([this] {
        run();
      }) {}

Waker::~Waker() {
  stop_.store(true, std::memory_order_release);  // W1 stop
  thread_.join();
}

void Waker::run() {
  pthread_setname_np(pthread_self(), "mserve-waker");
  WakerPace pace(shm::steady_now());
  bool stop = false;
  while (!stop) {
    stop = stop_.load(std::memory_order_acquire);  // W1; one more round after it
    const bool worked = take_all();
    const Nanos now = shm::steady_now();
    if (worked || pace.due(now)) {
      pace.looked(worked || any_peer_sleeps(), requests_.get(), now);
    }
    if (!stop) {
      sleep_ns(pace.sleep_ns(!repeat_.empty(), now));
    }
  }
}

bool Waker::take_all() {
  bool worked = false;
  std::erase_if(repeat_, [](const Repeat& r) {
    return wake_peer(*r.session) || shm::steady_now() >= r.until_ns;
  });
  Wake wake;
  while (wakes_.try_dequeue(wake)) {
    worked = true;
    switch (wake.kind) {
      case Wake::Kind::know:
        known_.push_back(wake.session);
        break;
      case Wake::Kind::peer:
        if (!wake_peer(*wake.session)) {
          repeat_.push_back({wake.session, shm::steady_now() + shm::kSleepNsMax});
        }
        break;
      case Wake::Kind::report:
        if (wake.session != nullptr) {
          std::erase(known_, wake.session);
          std::erase_if(repeat_, [&](const Repeat& r) { return r.session == wake.session; });
        }
        reports_.enqueue(wake.report);
        const std::uint64_t one = 1;
        (void)!write(report_fd_, &one, sizeof(one));
        break;
    }
  }
  return worked;
}

bool Waker::any_peer_sleeps() const {
  return std::any_of(known_.begin(), known_.end(), [](const Session* session) {
    return session->peer.front()->polled.load(std::memory_order_relaxed) !=  // parking: a hint here
           static_cast<std::uint32_t>(shm::Polled::polling);
  });
}

}  // namespace mserve::broker
