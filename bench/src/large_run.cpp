// SPDX-License-Identifier: Apache-2.0
#include "large_run.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "own_broker.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kBudgetBytes = std::uint64_t{64} << 20;

/// Into a ring, from ring to ring, out of a ring.
constexpr double kCopies = 3;

/// Takes one message, whole or in fragments, into memory that is there already.
class Receiver {
 public:
  explicit Receiver(std::size_t bytes) : memory_(bytes) {}

  void expect(std::uint64_t bytes) noexcept {
    wanted_ = bytes;
    arrived_ = 0;
  }
  [[nodiscard]] bool complete() const noexcept { return arrived_ == wanted_; }
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

  /// Takes a frame if there is one. @return bytes of payload taken.
  std::uint64_t take(shm::Attachment& attachment, shm::Kind kind) {
    shm::FrameView view;
    const Errc code = attachment.incoming().front(view);
    if (code == Errc::empty) {
      return 0;
    }
    shm::Extensions extensions;
    const std::uint64_t bytes = view.payload.size();
    if (code != Errc::ok || !shm::parse_extensions(view.extensions, extensions) ||
        view.header.kind != kind || extensions.flow.offset != arrived_ ||
        bytes > wanted_ - arrived_ ||
        (kind == shm::Kind::reply && shm::unpack_reply(view.header.aux).status != 0)) {
      fail("a frame is not the one expected: " +
           std::string(to_string(static_cast<Errc>(shm::unpack_reply(view.header.aux).status))));
    }
    std::memcpy(memory_.data() + arrived_, view.payload.data(), bytes);
    arrived_ += bytes;
    id_ = view.header.id;
    attachment.incoming().release();
    return bytes;
  }

 private:
  std::vector<std::byte> memory_;
  std::uint64_t wanted_ = 0;
  std::uint64_t arrived_ = 0;
  std::uint64_t id_ = 0;
};

/// Sends one message, whole if it fits a frame.
class Sender {
 public:
  Sender(shm::Attachment& attachment, const shm::FrameHeader& header,
         std::span<const std::byte> payload)
      : attachment_(attachment), header_(header), payload_(payload), flow_(header, payload) {}

  void step() {
    if (done_) {
      return;
    }
    if (payload_.size() <= shm::whole_payload_bytes_max(attachment_.outgoing().capacity())) {
      done_ = try_send(attachment_, header_, payload_);
    } else if (flow_.step(attachment_.outgoing())) {
      attachment_.wake_broker();
      done_ = flow_.done();
    }
  }

 private:
  shm::Attachment& attachment_;
  shm::FrameHeader header_;
  std::span<const std::byte> payload_;
  shm::FlowWriter flow_;
  bool done_ = false;
};

class LargePair {
 public:
  LargePair(const TripOptions& options, std::uint64_t bytes)
      : servant_(attach(options, shm::Role::servant)),
        client_(attach(options, shm::Role::client)),
        payload_(bytes, std::byte{'x'}),
        at_servant_(bytes),
        at_client_(bytes) {}

  void trip(std::uint64_t request_bytes, std::uint64_t answer_bytes) {
    const std::span<const std::byte> payload(payload_);
    shm::FrameHeader header;
    header.kind = shm::Kind::request;
    header.flags = shm::kFlagOpaque;
    header.id = ++id_;
    header.aux = kRoute;
    at_servant_.expect(request_bytes);
    Sender request(client_, header, payload.first(request_bytes));
    while (!at_servant_.complete()) {
      request.step();
      watch(at_servant_.take(servant_, shm::Kind::request));
    }
    header.kind = shm::Kind::reply;
    header.id = at_servant_.id();
    header.aux = shm::pack({servant_.info().servant, 0});
    at_client_.expect(answer_bytes);
    Sender answer(servant_, header, payload.first(answer_bytes));
    while (!at_client_.complete()) {
      answer.step();
      grant(watch(at_client_.take(client_, shm::Kind::reply)));
    }
  }

 private:
  /// Looks now and then whether the broker is still there.
  std::uint64_t watch(std::uint64_t taken) {
    if (taken == 0 && ++idle_passes_ % kPollsPerCheck == 0) [[unlikely]] {
      check_alive(client_);
      check_alive(servant_);
    }
    return taken;
  }
  /// The broker puts no more unread bytes of a flow into a ring than its window.
  void grant(std::uint64_t taken) {
    ungranted_ += taken;
    if (ungranted_ < client_.info().window_bytes / 2) {
      return;
    }
    shm::FrameHeader header;
    header.kind = shm::Kind::window;
    header.aux = ungranted_;
    if (shm::try_send_whole(client_.control(), header, {}, {})) {
      ungranted_ = 0;
      client_.wake_broker();
    }
  }

  shm::Attachment servant_;
  shm::Attachment client_;
  std::vector<std::byte> payload_;
  Receiver at_servant_;
  Receiver at_client_;
  std::uint64_t id_ = 0;
  std::uint64_t ungranted_ = 0;
  std::uint32_t idle_passes_ = 0;
};

/// Bytes per second of `once`, which moves `bytes`: at least one time after one that is not
/// counted.
template <class Once>
double rate_of(std::uint64_t bytes, std::uint64_t ns, Once once) {
  once();
  const std::uint64_t begin_ns = shm::steady_now();
  double moved = 0;
  std::uint64_t took_ns = 0;
  do {
    once();
    moved += static_cast<double>(bytes);
    took_ns = shm::steady_now() - begin_ns;
  } while (took_ns < ns && !interrupted());
  return moved * 1e9 / static_cast<double>(took_ns);
}

double memcpy_rate(int core, std::uint64_t bytes, std::uint64_t ns) {
  const Pinned pinned(core);
  const std::vector<std::byte> from(bytes, std::byte{'x'});
  std::vector<std::byte> to(bytes);
  std::size_t copies = 0;
  return rate_of(bytes, ns, [&] {
    std::memcpy(to.data(), from.data(), bytes);
    // Looked at, here and there, so that no copy is left out.
    if (to[++copies * shm::kCacheLine % bytes] != std::byte{'x'}) {
      fail("memcpy did not copy");
    }
  });
}

struct Rates {
  double request = 0;
  double answer = 0;
};
Rates broker_rates(const LargeSettings& settings, std::uint64_t bytes, std::uint64_t ns) {
  OwnBroker broker(settings.broker_path, shm::IdleStrategy::spin, settings.cores.relaying);
  if (interrupted()) {
    return {};
  }
  const Pinned pinned(settings.cores.measuring);
  constexpr std::uint64_t kSmall = 8;
  LargePair pair(broker.trip_options(kSmall), bytes);
  Rates rates;
  rates.request = kCopies * rate_of(bytes, ns / 2, [&] { pair.trip(bytes, kSmall); });
  rates.answer = kCopies * rate_of(bytes, ns / 2, [&] { pair.trip(kSmall, bytes); });
  return rates;
}

std::string size_name(std::uint64_t bytes) {
  return bytes % (1U << 20) == 0   ? fmt::format("{} MiB", bytes >> 20)
         : bytes % (1U << 10) == 0 ? fmt::format("{} KiB", bytes >> 10)
                                   : fmt::format("{} B", bytes);
}

Section describe(const LargeSettings& settings) {
  Section s;
  s.title = "large messages";
  s.sample =
      "bytes of payload, times the three copies that are made of each: into a ring, from ring to "
      "ring, out of a ring; the other way goes a message of 8 B";
  s.unit = Unit::bytes_per_s;
  s.pinning = fmt::format(
      "client and servant are one thread on core {}, the broker's data thread is on core {}",
      settings.cores.measuring, settings.cores.relaying);
  s.idle = "both spin";
  for (const std::uint64_t bytes : settings.sizes) {
    const std::size_t first = s.rows.size();
    const std::string size = size_name(bytes);
    s.rows.push_back({size + " request", "through the broker"});
    s.rows.push_back({size + " answer", "through the broker"});
    s.rows.push_back({size + " memcpy", "one copy from memory to memory, on core A"});
    // Asked of what no cache holds: one core's memcpy within its own is no measure for two cores.
    const char* const budget = bytes >= kBudgetBytes ? "at least 0.5" : "";
    s.comparisons.push_back({first, first + 2, budget});
    s.comparisons.push_back({first + 1, first + 2, budget});
  }
  return s;
}

}  // namespace

void run_large(Run& run, const Plan& plan, const LargeSettings& settings) {
  run.measure(describe(settings), plan, [&](Section& section, std::uint64_t ns) {
    const std::uint64_t each_ns = ns / section.rows.size();
    for (std::size_t i = 0; i < settings.sizes.size() && !interrupted(); ++i) {
      const std::uint64_t bytes = settings.sizes[i];
      run.say(section.rows[3 * i].name.c_str());
      Rates rates;
      try {
        rates = broker_rates(settings, bytes, 2 * each_ns);
      } catch (const Interrupted&) {
        return;
      }
      section.rows[3 * i].add(rates.request);
      section.rows[3 * i + 1].add(rates.answer);
      section.rows[3 * i + 2].add(memcpy_rate(settings.cores.measuring, bytes, each_ns));
    }
  });
}

}  // namespace mserve::bench
