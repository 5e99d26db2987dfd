// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "data/data_plane.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/monitor.hpp"
#include "mserve/shm/parking.hpp"

// What the broker's data thread does for a request, without anything that travels between cores:
// clients and servants are played by the thread that makes the passes.
namespace mserve::broker {

/// The value. @throws std::runtime_error  where there is none: out of memory or descriptors.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) {
    throw std::runtime_error(std::string(to_string(result.error().code)) + ": " +
                             result.error().where);
  }
  return std::move(result).value();
}

/// One session with both its ends, as SessionMaker and the peer would make them. Both write to the
/// memory in one process, so it is not sealed.
struct StageEnds {
  StageEnds(std::uint32_t number, shm::Role role, std::uint32_t credit, std::uint32_t ring_bytes) {
    const std::uint64_t bytes = shm::segment_bytes(ring_bytes, kControlBytes);
    const auto map = [bytes] {
      return value_or_throw(
          value_or_throw(shm::Segment::create("stage", bytes)).map(shm::Access::read_write));
    };
    session.number = number;
    session.role = role;
    session.credit = credit;
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
    if (role == shm::Role::client) {  // its control ring stays empty
      session.control = shm::RingConsumer({session.peer.ring() + ring_bytes, kControlBytes, start,
                                           nullptr, &session.own.front()->control_consumer_pos,
                                           &session.own.front()->polled});
    }
  }

  static constexpr std::uint64_t kControlBytes = 4096;
  Session session;
  shm::RingProducer send;
  shm::RingConsumer take;
};

struct StageShape {
  std::uint32_t clients = 1;
  std::uint32_t servants = 1;
  std::uint32_t credit = 64;  ///< Of each servant.
  std::uint32_t payload_bytes = 40;
  std::uint8_t flags = shm::kFlagOpaque;  ///< Of requests.
  BrokerOptions options{};
};

/// A data plane with clients and servants. All of it from one thread.
class Stage {
 public:
  /// @throws std::bad_alloc, std::runtime_error
  explicit Stage(const StageShape& shape)
      : shape_(with_room(shape)), payload_(shape_.payload_bytes, std::byte{'x'}) {
    for (std::uint32_t number = 0; number < shape_.clients + shape_.servants; ++number) {
      const bool client = number < shape_.clients;
      auto& ends = client ? clients_ : servants_;
      ends.push_back(std::make_unique<StageEnds>(
          number, client ? shm::Role::client : shm::Role::servant, client ? 0 : shape_.credit,
          client ? shape_.options.client_ring : shape_.options.servant_ring));
      Command command;
      command.kind = Command::Kind::attach;
      command.session = &ends.back()->session;
      commands_.enqueue(command);
    }
    for (std::uint32_t taken = 0; taken < shape_.clients + shape_.servants; ++taken) {
      data_->upkeep();  // takes some commands at once, at least one
    }
  }

  /// One of the data plane's. @return whether there was work.
  [[gnu::noinline]] bool pass() { return data_->pass(); }
  void upkeep() { data_->upkeep(); }

  /// Each client asks so often, for one of so many routes in turn.
  [[gnu::noinline]] void ask(std::uint32_t count, std::uint32_t routes = 1) {
    for (const auto& client : clients_) {
      ask(*client, count, routes);
    }
  }
  /// The first client alone asks once; the others are not even looked at. @return whether it got
  /// its answer within so many passes.
  bool relay_once(std::uint32_t passes_max) {
    ask(*clients_.front(), 1, 1);
    for (std::uint32_t i = 0; i < passes_max; ++i) {
      (void)pass();
      serve();
      if (take(*clients_.front()) != 0) {
        return true;
      }
    }
    return false;
  }
  /// Each servant answers what it was sent, at most so often.
  [[gnu::noinline]] void serve(std::uint32_t most = ~std::uint32_t{0}) {
    for (const auto& servant : servants_) {
      shm::FrameView view;
      for (std::uint32_t i = 0; i < most && servant->take.front(view) == Errc::ok; ++i) {
        shm::FrameHeader reply;
        reply.kind = shm::Kind::reply;
        reply.flags = shm::kFlagOpaque;
        reply.id = view.header.id;
        (void)shm::try_send_whole(servant->send, reply, {}, view.payload);
        servant->take.release();
      }
    }
  }
  /// @return how many answers the clients took.
  [[gnu::noinline]] std::uint32_t take_answers() {
    std::uint32_t count = 0;
    for (const auto& client : clients_) {
      count += take(*client);
    }
    return count;
  }

 private:
  static constexpr std::uint64_t kRoute = 0x9ae16a3b2f90404f;

  void ask(StageEnds& client, std::uint32_t count, std::uint32_t routes) {
    shm::FrameHeader header;
    header.flags = shape_.flags;
    for (std::uint32_t i = 0; i < count; ++i) {
      header.id = ++asked_;
      header.aux = kRoute + asked_ % routes;
      (void)shm::try_send_whole(client.send, header, {}, payload_);
    }
  }

  std::uint32_t take(StageEnds& client) {
    std::uint32_t count = 0;
    shm::FrameView view;
    while (client.take.front(view) == Errc::ok) {
      shm::copy_bytes(answer_.data(), view.payload.data(),
                      std::min(view.payload.size(), answer_.size()));
      client.take.release();
      ++count;
    }
    return count;
  }

  static StageShape with_room(StageShape shape) {
    shape.options.max_sessions = std::max(4U, shape.clients + shape.servants);
    shape.options.max_connections = shape.options.max_sessions;
    return shape;
  }

  const StageShape shape_;
  std::vector<std::unique_ptr<StageEnds>> clients_;
  std::vector<std::unique_ptr<StageEnds>> servants_;
  shm::UniqueFd command_fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Queue<Command> commands_{64};
  Queue<Report> reports_{16};
  shm::CountersWriter counters_ = value_or_throw(shm::CountersWriter::create(
      {.broker = "stage" + std::to_string(::getpid()), .broker_epoch = 1}));
  shm::MonitorSegment monitor_ =
      value_or_throw(shm::MonitorSegment::create({.counters_name = counters_.name(),
                                                  .broker_epoch = 1,
                                                  .sessions = shape_.options.max_sessions}));
  std::unique_ptr<DataPlane> data_ = std::make_unique<DataPlane>(
      shape_.options, /*seq_cst_wakes=*/false,
      DataPlane::Links{.commands = &commands_,
                       .reports = &reports_,
                       .command_fd = command_fd_.get(),
                       .report_fd = command_fd_.get(),
                       .monitor = &monitor_},
      DataCounters::add_to(counters_), shm::Idler(shm::IdleStrategy::spin));
  std::uint64_t asked_ = 0;
  std::vector<std::byte> payload_;
  std::array<std::byte, 4096> answer_{};
};

}  // namespace mserve::broker
