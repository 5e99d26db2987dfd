// SPDX-License-Identifier: Apache-2.0
#include "trips.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "cores.hpp"
#include "ends.hpp"
#include "futex_chain.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"
#include "pace.hpp"

namespace mserve::bench {
namespace {

ClientSide kdb_side(const TripOptions& options) {
  if (options.payload_bytes < kEchoCallBytesMin) {
    fail("an echo call takes at least " + std::to_string(kEchoCallBytesMin) + " bytes of payload");
  }
  ClientSide side{attach(options, shm::Role::client), {}, {}, {}};
  const std::array<kdb::Value, 1> arguments = {
      kdb::Value::chars(std::string(options.payload_bytes - kEchoCallBytesMin, 'x'))};
  side.request = kdb::encode_call("echo", arguments);
  side.answer.resize(kdb::encoded_size(arguments[0]));
  const auto rule = kdb::parse_rule(side.attachment.info().route_rule);
  side.header.aux = rule ? kdb::route_of(side.request, rule.value()).hash : 0;
  return side;
}

template <class RoundTrip>
void sample(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples,
            std::uint64_t pause_ns, RoundTrip round_trip) {
  const std::uint64_t begin_ns = shm::steady_now();
  const int trips_per_look = pause_ns != 0 ? 1 : kTripsPerLook;
  try {
    while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
      if (pause_ns != 0) {
        pause_for(pause_ns);
      }
      for (int i = 0; i < trips_per_look; ++i) {
        const std::uint64_t begin = timer.read();
        round_trip();
        const std::uint64_t end = timer.read();
        samples.record(timer.to_ns(end - begin));
      }
    }
  } catch (const Interrupted&) {
    // The caller looks at interrupted() too.
  }
}

class PairTrips final : public Trips {
 public:
  explicit PairTrips(const TripOptions& options)
      : servant_(attach(options, shm::Role::servant)), client_(opaque_side(options)) {}

  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) override {
    sample(timer, duration_ns, samples, 0, [&] { round_trip(client_, servant_); });
  }
  [[nodiscard]] int broker_pid() const noexcept override { return servant_.info().broker_pid; }

 private:
  shm::Attachment servant_;
  ClientSide client_;
};

class ClientTrips final : public Trips {
 public:
  ClientTrips(ClientSide side, const TripOptions& options)
      : client_(std::move(side)), wait_(options.idle), pause_ns_(options.pause_ns) {}

  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) override {
    shm::FrameView view;
    sample(timer, duration_ns, samples, pause_ns_, [&] {
      client_.ask();
      wait_(client_.attachment, view);
      client_.take(view);
    });
  }
  [[nodiscard]] int broker_pid() const noexcept override {
    return client_.attachment.info().broker_pid;
  }

 private:
  ClientSide client_;
  IdleWait wait_;
  std::uint64_t pause_ns_;
};

}  // namespace

std::unique_ptr<Trips> attach_pair(const TripOptions& options) {
  return std::make_unique<PairTrips>(options);
}

std::unique_ptr<Trips> attach_client(const TripOptions& options) {
  return std::make_unique<ClientTrips>(opaque_side(options), options);
}

std::unique_ptr<Trips> attach_kdb_client(const TripOptions& options) {
  return std::make_unique<ClientTrips>(kdb_side(options), options);
}

void serve_echo(const TripOptions& options, int ready_fd) {
  shm::Attachment servant = attach(options, shm::Role::servant);
  if (ready_fd >= 0) {
    (void)!write(ready_fd, "ready\n", 6);
    (void)close(ready_fd);
  }
  IdleWait wait(options.idle);  // before pinning: it counts the cores that may be used
  const PinnedIf pinned(options.core >= 0, options.core);
  shm::FrameView view;
  try {
    for (;;) {
      wait(servant, view);
      echo(servant, view);
    }
  } catch (const Interrupted&) {
    // Asked to end.
  }
}

}  // namespace mserve::bench
