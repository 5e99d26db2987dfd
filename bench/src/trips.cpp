// SPDX-License-Identifier: Apache-2.0
#include "trips.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "cores.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/parking.hpp"

namespace mserve::bench {
namespace {

constexpr int kTripsPerLook = 100;
constexpr std::uint32_t kPollsPerCheck = 1U << 16;
/// A route like any other: affinity is part of what a request costs.
constexpr std::uint64_t kRoute = 0x9ae16a3b2f90404f;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

/// Thrown to leave a measurement at Ctrl-C; measure() turns it into an early return.
struct Interrupted {};

[[gnu::cold]] void check_alive(shm::Attachment& attachment) {
  if (interrupted()) {
    throw Interrupted{};
  }
  if (attachment.check() != Errc::ok) {
    const std::string& reason = attachment.closing_reason();
    fail(reason.empty() ? "the broker went away" : "the broker closed the session: " + reason);
  }
}

/// Polls without ever yielding: for a thread with a core of its own.
class SpinWait {
 public:
  void operator()(shm::Attachment& attachment, shm::FrameView& view) {
    for (;;) {
      for (std::uint32_t i = 0; i < kPollsPerCheck; ++i) {
        const Errc code = attachment.incoming().front(view);
        if (code == Errc::ok) [[likely]] {
          return;
        }
        if (code != Errc::empty) {
          fail("the broker sent a frame that is none");
        }
        shm::cpu_pause();
      }
      check_alive(attachment);
    }
  }
};

/// Waits as the idle strategy says, and sleeps when it says so.
class IdleWait {
 public:
  explicit IdleWait(shm::IdleStrategy strategy) noexcept : idler_(strategy) {}

  void operator()(shm::Attachment& attachment, shm::FrameView& view) {
    std::uint32_t polls = 0;
    Errc code = Errc::empty;
    while ((code = attachment.incoming().front(view)) == Errc::empty) {
      if (idler_.idle() == shm::Idler::Step::park) {
        // Whatever it returns, the ring tells the rest.
        (void)attachment.wait(shm::steady_now() + shm::kSleepNsMax, shm::SleepOn::futex);
        check_alive(attachment);
        idler_.reset();
      } else if (++polls == kPollsPerCheck) [[unlikely]] {
        check_alive(attachment);
        polls = 0;
      }
    }
    if (code != Errc::ok) {
      fail("the broker sent a frame that is none");
    }
    idler_.reset();
  }

 private:
  shm::Idler idler_;
};

void send(shm::Attachment& attachment, const shm::FrameHeader& header,
          std::span<const std::byte> payload) {
  // One message at a time in a ring much larger than it: there is always room.
  if (!shm::try_send_whole(attachment.outgoing(), header, {}, payload)) [[unlikely]] {
    fail("the ring towards the broker is full or broken");
  }
  attachment.wake_broker();
}

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

/// Takes one request and answers it with its own payload, copied from ring to ring.
void echo(shm::Attachment& servant, const shm::FrameView& view) {
  if (view.header.kind == shm::Kind::request) [[likely]] {
    shm::FrameHeader header;
    header.kind = shm::Kind::reply;
    header.flags = view.header.flags & shm::kFlagOpaque;
    header.id = view.header.id;
    header.aux = shm::pack({servant.info().servant, 0});
    send(servant, header, view.payload);
  }
  servant.incoming().release();
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

shm::Attachment attach(const TripOptions& options, shm::Role role) {
  shm::AttachOptions attach_options;
  attach_options.broker = options.broker;
  attach_options.directory = options.directory;
  attach_options.role = role;
  attach_options.name = "mserve-bench";
  attach_options.credit = options.credit;
  attach_options.ring_bytes = options.ring_bytes;
  std::string reason;
  auto attachment = shm::Attachment::open(attach_options, &reason);
  if (!attachment) {
    const Errc code = attachment.error().code;
    fail("cannot attach to broker '" + options.broker + "': " + to_string(code) +
         (reason.empty() ? "" : " (" + reason + ")") + "; " + advice(code));
  }
  const std::size_t most = shm::whole_payload_bytes_max(attachment.value().info().out_ring_bytes);
  if (options.payload_bytes > most) {
    fail("a payload of " + std::to_string(options.payload_bytes) +
         " bytes travels in fragments; this measures single frames of up to " +
         std::to_string(most) + " bytes");
  }
  return std::move(attachment).value();
}

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
