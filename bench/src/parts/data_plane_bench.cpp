// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/data_plane.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/monitor.hpp"
#include "mserve/shm/parking.hpp"

// What the broker's data thread does for a request, without anything that travels between cores:
// client and servant are played by the thread that makes the passes. What is counted here is the
// work; what `mserve-bench throughput` takes beyond it is the lines' way.
namespace mserve {
namespace {

constexpr std::uint32_t kSessions = 4;
constexpr std::uint64_t kRoute = 0x9ae16a3b2f90404f;
constexpr std::size_t kPayloadBytes = 40;
constexpr int kFramesMax = 64;

template <class T>
T value_of(Result<T> result) {
  if (!result) {
    std::abort();  // out of memory or of descriptors: nothing can be measured
  }
  return std::move(result).value();
}

/// One session with both its ends, as SessionMaker and the peer would make them. Both write to the
/// memory in one process, so it is not sealed.
struct Ends {
  Ends(std::uint32_t number, shm::Role role, std::uint32_t ring_bytes) {
    const std::uint64_t bytes = shm::segment_bytes(ring_bytes, 0);
    const auto map = [bytes] {
      return value_of(value_of(shm::Segment::create("bench", bytes)).map(shm::Access::read_write));
    };
    session.number = number;
    session.role = role;
    session.credit = kFramesMax;
    session.window_bytes = ring_bytes;
    session.own = map();
    session.peer = map();
    const std::uint64_t start = shm::ring_start(number);
    const auto ring = [ring_bytes, start](const shm::Mapping& from, const shm::Mapping& to) {
      from.front()->producer_pos.store(start, std::memory_order_relaxed);  // nobody looks yet
      to.front()->consumer_pos.store(start, std::memory_order_relaxed);    // nobody looks yet
      shm::store_polled(to.front()->polled, shm::Polled::polling, /*seq_cst_wakes=*/false);
      return shm::RingMemory{from.ring(),
                             ring_bytes,
                             start,
                             &from.front()->producer_pos,
                             &to.front()->consumer_pos,
                             &to.front()->polled};
    };
    session.out = shm::RingProducer(ring(session.own, session.peer));
    session.in = shm::RingConsumer(ring(session.peer, session.own));
    send = shm::RingProducer(ring(session.peer, session.own));
    take = shm::RingConsumer(ring(session.own, session.peer));
  }

  broker::Session session;
  shm::RingProducer send;
  shm::RingConsumer take;
};

/// A data plane, a client and a servant.
class Stage {
 public:
  Stage() {
    for (Ends* const each : {&client_, &servant_}) {
      if (each->session.role == shm::Role::client) {
        each->session.control = shm::RingConsumer(control_memory());
      }
      broker::Command command;
      command.kind = broker::Command::Kind::attach;
      command.session = &each->session;
      commands_.enqueue(command);
    }
    data_->upkeep();
    header_.flags = shm::kFlagOpaque;
    header_.aux = kRoute;
  }

  [[gnu::noinline]] bool pass() { return data_->pass(); }

  [[gnu::noinline]] void ask(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      ++header_.id;
      (void)shm::try_send_whole(client_.send, header_, {}, payload_);
    }
  }
  [[gnu::noinline]] void serve() {
    shm::FrameView view;
    while (servant_.take.front(view) == Errc::ok) {
      shm::FrameHeader reply;
      reply.kind = shm::Kind::reply;
      reply.flags = shm::kFlagOpaque;
      reply.id = view.header.id;
      (void)shm::try_send_whole(servant_.send, reply, {}, view.payload);
      servant_.take.release();
    }
  }
  [[gnu::noinline]] std::uint32_t take_answers() {
    shm::FrameView view;
    std::uint32_t count = 0;
    while (client_.take.front(view) == Errc::ok) {
      shm::copy_bytes(answer_.data(), view.payload.data(), view.payload.size());
      client_.take.release();
      ++count;
    }
    return count;
  }

 private:
  static broker::BrokerOptions options() {
    broker::BrokerOptions o;
    o.max_sessions = kSessions;
    o.max_connections = kSessions;
    return o;
  }
  shm::RingMemory control_memory() {
    const std::uint64_t start = shm::ring_start(client_.session.number);
    return {reinterpret_cast<std::byte*>(control_.data()),
            sizeof(control_),
            start,
            nullptr,
            &client_.session.own.front()->control_consumer_pos,
            &client_.session.own.front()->polled};
  }

  struct alignas(shm::kCacheLine) Line {
    std::byte bytes[shm::kCacheLine];
  };
  std::array<Line, 64> control_{};  // the client's control ring, which stays empty
  const broker::BrokerOptions options_ = options();
  Ends client_{0, shm::Role::client, options_.client_ring};
  Ends servant_{1, shm::Role::servant, options_.servant_ring};
  shm::UniqueFd command_fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  broker::Queue<broker::Command> commands_{16};
  broker::Queue<broker::Report> reports_{16};
  shm::CountersWriter counters_ = value_of(shm::CountersWriter::create(
      {.broker = "parts" + std::to_string(::getpid()), .broker_epoch = 1}));
  shm::MonitorSegment monitor_ = value_of(shm::MonitorSegment::create(
      {.counters_name = counters_.name(), .broker_epoch = 1, .sessions = kSessions}));
  std::unique_ptr<broker::DataPlane> data_ = std::make_unique<broker::DataPlane>(
      options_, /*seq_cst_wakes=*/false,
      broker::DataPlane::Links{.commands = &commands_,
                               .reports = &reports_,
                               .command_fd = command_fd_.get(),
                               .report_fd = command_fd_.get(),
                               .monitor = &monitor_},
      broker::DataCounters::add_to(counters_), shm::Idler(shm::IdleStrategy::spin));

  shm::FrameHeader header_;
  std::vector<std::byte> payload_ = std::vector<std::byte>(kPayloadBytes, std::byte{'x'});
  std::array<std::byte, kPayloadBytes> answer_{};
};

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

// A window of requests through the broker and back. Items are requests.
void BM_Relay(benchmark::State& state) {
  const auto window = static_cast<std::uint32_t>(state.range(0));
  Stage stage;
  for ([[maybe_unused]] auto _ : state) {
    stage.ask(window);
    for (std::uint32_t answered = 0; answered < window; answered += stage.take_answers()) {
      (void)stage.pass();
      stage.serve();
    }
  }
  state.SetItemsProcessed(state.iterations() * window);
}
BENCHMARK(BM_Relay)->ArgName("window")->Arg(1)->Arg(8)->Arg(64);

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve
