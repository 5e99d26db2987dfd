// SPDX-License-Identifier: Apache-2.0
#include "trips.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "cores.hpp"
#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::bench {
namespace {

constexpr int kTripsPerLook = 100;
/// The client's half of a round trip.
struct ClientSide {
  shm::Attachment attachment;
  shm::FrameHeader header;
  std::vector<std::byte> request;
  std::vector<std::byte> answer;  ///< Exactly as long as the answer must be.

  void ask() {
    ++header.id;
    send(attachment, header, request);
  }

  void take(const shm::FrameView& view) {
    const shm::ReplyAux aux = shm::unpack_reply(view.header.aux);
    if (view.header.kind != shm::Kind::reply || view.header.id != header.id || aux.status != 0 ||
        view.payload.size() != answer.size()) [[unlikely]] {
      refuse(view, aux);
    }
    std::memcpy(answer.data(), view.payload.data(), view.payload.size());
    attachment.incoming().release();
  }

  [[noreturn, gnu::cold]] void refuse(const shm::FrameView& view, shm::ReplyAux aux) const {
    std::string text = "the answer is not the expected one: ";
    if (static_cast<Errc>(aux.status) == Errc::failed && view.payload.size() > 2) {
      const auto* const begin = reinterpret_cast<const char*>(view.payload.data()) + 1;
      text += "the servant said '" + std::string(begin, view.payload.size() - 2) + "'";
    } else if (aux.status != 0) {
      text += to_string(static_cast<Errc>(aux.status));
    } else {
      text += std::to_string(view.payload.size()) + " bytes instead of " +
              std::to_string(answer.size());
    }
    fail(text);
  }
};

ClientSide opaque_side(const TripOptions& options) {
  ClientSide side{attach(options, shm::Role::client), {}, {}, {}};
  side.header.flags = shm::kFlagOpaque;
  side.header.aux = kRoute;
  side.request.assign(options.payload_bytes, std::byte{'x'});
  side.answer.resize(options.payload_bytes);
  return side;
}

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
            RoundTrip round_trip) {
  const std::uint64_t begin_ns = shm::steady_now();
  try {
    while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
      for (int i = 0; i < kTripsPerLook; ++i) {
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
    SpinWait wait;
    shm::FrameView view;
    sample(timer, duration_ns, samples, [&] {
      client_.ask();
      wait(servant_, view);
      echo(servant_, view);
      wait(client_.attachment, view);
      client_.take(view);
    });
  }
  [[nodiscard]] int broker_pid() const noexcept override { return servant_.info().broker_pid; }

 private:
  shm::Attachment servant_;
  ClientSide client_;
};

class ClientTrips final : public Trips {
 public:
  ClientTrips(ClientSide side, shm::IdleStrategy idle) : client_(std::move(side)), wait_(idle) {}

  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) override {
    shm::FrameView view;
    sample(timer, duration_ns, samples, [&] {
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
};

}  // namespace

std::unique_ptr<Trips> attach_pair(const TripOptions& options) {
  return std::make_unique<PairTrips>(options);
}

std::unique_ptr<Trips> attach_client(const TripOptions& options) {
  return std::make_unique<ClientTrips>(opaque_side(options), options.idle);
}

std::unique_ptr<Trips> attach_kdb_client(const TripOptions& options) {
  return std::make_unique<ClientTrips>(kdb_side(options), options.idle);
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
