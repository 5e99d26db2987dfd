// SPDX-License-Identifier: Apache-2.0
#include "control/session_maker.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <new>
#include <string_view>
#include <system_error>

#include "control/servant_tags.hpp"
#include "data/request_table.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"
#include "plugin/route_plugin.hpp"
#include "version.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint32_t kServantCreditMax = 64;
static_assert(kTiers == shm::kTierMax + 1);
/// Of a gateway: a thousand connections may grant windows or go in one pass.
constexpr std::uint32_t kGatewayControlBytes = 64U << 10;

shm::RingMemory ring_memory(const shm::Mapping& producer, const shm::Mapping& consumer,
                            std::uint32_t ring_bytes, std::uint64_t start) {
  shm::SegmentFront* const from = producer.front();
  shm::SegmentFront* const to = consumer.front();
  return {producer.ring(), ring_bytes, start, &from->producer_pos, &to->consumer_pos, &to->polled};
}

std::string mebibytes(std::uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

constexpr std::string_view kNotLocked = "lock segment";

/// Whoever asks for --lock-memory wants no session that the kernel may swap out.
Error locked(const shm::Mapping& mapping) noexcept {
  return mapping.lock_errno() == 0
             ? Error{}
             : Error{Errc::no_memory, mapping.lock_errno(), kNotLocked.data()};
}

}  // namespace

SessionMaker::SessionMaker(const BrokerOptions& options, std::uint64_t epoch, bool seq_cst_wakes,
                           std::string counters_name)
    : options_(options),
      epoch_(epoch),
      seq_cst_wakes_(seq_cst_wakes),
      counters_name_(std::move(counters_name)),
      number_used_(options.max_sessions),
      classes_(options.classes_max(),
               options.places() ? ClassTable::Apart::by_tags : ClassTable::Apart::links) {}

shm::Welcome SessionMaker::base_welcome() const {
  shm::Welcome w;
  w.wake_mode = seq_cst_wakes_ ? shm::WakeMode::seq_cst : shm::WakeMode::membarrier;
  w.broker_epoch = epoch_;
  w.broker_pid = getpid();
  w.message_bytes_max = options_.max_message;
  (void)shm::set_text(w.counters_name, counters_name_);
  (void)shm::set_text(w.broker_version, kVersion);
  const bool ruled = options_.plugins.route == nullptr;
  (void)shm::set_text(w.route_rule,
                      ruled ? kdb::to_text(options_.route) : std::string(kPluginRule));
  return w;
}

bool SessionMaker::take_number(std::uint32_t& number) {
  // In turn, so that a number rests as long as possible before somebody else has it.
  for (std::uint32_t i = 0; i < options_.max_sessions; ++i) {
    const std::uint32_t candidate = (next_number_ + i) % options_.max_sessions;
    if (!number_used_[candidate]) {
      number_used_[candidate] = true;
      next_number_ = candidate + 1;
      number = candidate;
      return true;
    }
  }
  return false;
}

SessionMaker::Shape SessionMaker::shape_for(const shm::Hello& hello) const {
  if (hello.role == shm::Role::gateway) {
    const std::uint32_t ring = options_.gateway_ring;
    return {ring, kGatewayControlBytes, ring / 4};
  }
  if (hello.role == shm::Role::servant) {
    return {std::clamp(std::max(hello.ring_bytes, options_.servant_ring), options_.servant_ring,
                       kServantRingMax),
            0, 0};
  }
  // A client's frame must fit a servant's ring, so clients' rings are never the larger ones.
  const std::uint32_t wanted = hello.ring_bytes != 0 ? hello.ring_bytes : options_.client_ring;
  const std::uint32_t ring = std::clamp(wanted, shm::kRingBytesMin, options_.servant_ring);
  return {ring, shm::kControlRingBytes, ring};
}

void SessionMaker::fill(Session& session, const shm::Hello& hello, const shm::Credentials& who,
                        const Shape& shape) {
  const bool servant = hello.role == shm::Role::servant;
  const bool gateway = hello.role == shm::Role::gateway;
  session.generation = next_generation();
  session.role = hello.role;
  session.name = std::string(shm::text_of(hello.name));
  if (session.name.empty()) {
    session.name = (servant ? "servant-" : "client-") + std::to_string(session.number + 1);
  }
  session.credit = std::clamp(hello.credit, 1U, kServantCreditMax);
  session.tags = std::string(shm::text_of(hello.tags));
  session.weight = weight_of(session.tags).value_or(1);
  session.tier = hello.flags & shm::kHelloTierMask;
  session.home = servant ? home_of(session.tags) : 0;
  session.link = servant && is_link(session.tags);
  session.pid = who.pid;
  session.uid = who.uid;
  session.shared_bytes = shape.bytes();
  shared_bytes_ += session.shared_bytes;
  session.window_bytes = shape.window_bytes;
  session.running.reserve(session.credit);
  session.undelivered.reserve(session.credit);
  session.aborts.reserve(session.credit);
  session.interrupts.reserve(session.credit);
  if (gateway) {
    session.origins.places.resize(options_.max_connections);
    session.origins.untold.reserve(options_.max_connections);
  }
  session.flows.reserve(gateway ? options_.max_connections : servant ? 0 : kFlowsPerClient);
}

bool SessionMaker::fits(const shm::Hello& hello) const noexcept {
  return shared_bytes_ + shape_for(hello).bytes() <= options_.max_shared_bytes;
}

bool SessionMaker::welcome(const shm::Hello& hello, const shm::Credentials& who,
                           shm::UniqueFd& socket, Draft& draft, Refusal& refusal) {
  const bool servant = hello.role == shm::Role::servant;
  if (hello.role == shm::Role::gateway && who.pid != getpid()) {
    refusal = {Errc::access, "only the broker's own gateway attaches as one"};
    return false;
  }
  if (servant && !weight_of(shm::text_of(hello.tags))) {
    refusal = {Errc::invalid, "tag weight: a whole number from 1 to 1000"};
    return false;
  }
  if (!fits(hello)) {
    refusal = {Errc::no_memory, "--max-shared-bytes (" + mebibytes(options_.max_shared_bytes) +
                                    ") is reached; raise it or detach other peers"};
    return false;
  }
  try {
    return make(hello, who, socket, draft, refusal);
  } catch (const std::bad_alloc&) {
    if (draft.session) {
      release(*draft.session);
      draft = {};
    }
    const Error none{Errc::no_memory, ENOMEM, "session"};
    refusal = {none.code, why(none)};
    return false;
  }
}

bool SessionMaker::make(const shm::Hello& hello, const shm::Credentials& who, shm::UniqueFd& socket,
                        Draft& draft, Refusal& refusal) {
  auto session = std::make_unique<Session>();
  session->role = hello.role;
  if (!take_number(session->number)) {
    refusal = {Errc::no_memory, "--max-sessions (" + std::to_string(options_.max_sessions) +
                                    ") is reached; raise it or detach other peers"};
    return false;
  }
  draft.session = std::move(session);  // from here on it can be released
  if (std::string fault; !take_pool(hello, draft, fault)) {
    number_used_[draft.session->number] = false;
    draft = {};
    refusal = {Errc::no_memory, fault};
    return false;
  }
  const Shape shape = shape_for(hello);
  fill(*draft.session, hello, who, shape);
  if (const Error e = greet(hello, shape, socket.get(), draft); e.code != Errc::ok) {
    release(*draft.session);
    draft = {};
    refusal = {e.code, why(e)};
    return false;
  }
  draft.session->socket = std::move(socket);
  return true;
}

/// A servant's. @return false: no more fit, as `fault` says.
bool SessionMaker::take_pool(const shm::Hello& hello, Draft& draft, std::string& fault) {
  if (hello.role != shm::Role::servant) {
    return true;
  }
  const std::string_view tags = shm::text_of(hello.tags);
  auto change = classes_.meet(tags, fault);
  if (!change) {
    return false;
  }
  if (!change->classes.empty()) {
    change_ = std::move(change);
  }
  const auto entered = classes_.enter(tags);
  if (!entered) {
    fault = "servants of " + std::to_string(is_link(tags) ? kLinkPoolsMax : kPoolsMax) +
            " different sets of tags are attached, each link to another broker one; no more fit";
    return false;
  }
  draft.session->pool = entered->pool;
  draft.define = entered->define;
  return true;
}

/// Makes the segments and sends the Welcome with them.
Error SessionMaker::greet(const shm::Hello& hello, const Shape& shape, int socket, Draft& draft) {
  Session& session = *draft.session;
  const bool servant = session.is_servant();
  shm::Segment own;
  if (const Error e = make_segments(session, shape.ring, shape.control, own, draft.peer_segment);
      e.code != Errc::ok) {
    return e;
  }
  shm::Welcome w = base_welcome();
  w.session = wire_number(session);
  w.ring_start = shm::ring_start(session.number);
  w.window_bytes = shape.window_bytes;
  w.to_peer_ring_bytes = w.to_broker_ring_bytes = shape.ring;
  w.control_bytes = shape.control;
  // What a gateway sends must fit the ring of any servant.
  w.frame_bytes_max = shm::frame_bytes_max(std::min(shape.ring, options_.servant_ring));
  w.credit = servant ? session.credit : 0;
  w.servant = servant ? session.number + 1 : 0;
  constexpr std::uint16_t kKnowsFlags = 2;
  if (classes_.any_rules() && hello.protocol_minor >= kKnowsFlags) {
    w.flags = shm::kWelcomePlacement;
  }
  const std::array<int, 2> fds{own.fd(), draft.peer_segment.fd()};
  return shm::send_message(socket, shm::wire_bytes(w), fds, 0);
}

Error SessionMaker::make_segments(Session& session, std::uint32_t ring, std::uint32_t control,
                                  shm::Segment& own, shm::Segment& peer) const {
  auto to_peer = shm::Segment::create("mserve-to-peer", shm::segment_bytes(ring, 0));
  if (!to_peer) {
    return to_peer.error();
  }
  auto to_broker = shm::Segment::create("mserve-to-broker", shm::segment_bytes(ring, control));
  if (!to_broker) {
    return to_broker.error();
  }
  own = std::move(to_peer).value();
  peer = std::move(to_broker).value();
  const std::uint64_t wire = wire_number(session);
  Error error = own.write_header(shm::make_segment_header(wire, epoch_, ring, 0));
  if (error.code == Errc::ok) {
    error = peer.write_header(shm::make_segment_header(wire, epoch_, ring, control));
  }
  if (error.code != Errc::ok) {
    return error;
  }
  auto mapping = own.map(shm::Access::read_write, {.prefault = true, .lock = options_.lock_memory});
  if (!mapping) {
    return mapping.error();
  }
  session.own = std::move(mapping).value();
  if (const Error e = locked(session.own); e.code != Errc::ok) {
    return e;
  }
  const std::uint64_t start = shm::ring_start(session.number);
  shm::SegmentFront& front = *session.own.front();
  front.consumer_pos.store(start, std::memory_order_relaxed);          // before Welcome
  front.control_consumer_pos.store(start, std::memory_order_relaxed);  // before Welcome
  shm::store_polled(front.polled, shm::Polled::polling, seq_cst_wakes_);
  return own.seal_writes();
}

Error SessionMaker::complete(Draft& draft) {
  Session& session = *draft.session;
  const std::uint64_t bytes = draft.peer_segment.size();
  if (const Error e = draft.peer_segment.seal_writes(); e.code != Errc::ok) {
    return e;
  }
  auto mapping = draft.peer_segment.map(shm::Access::read_only,
                                        {.prefault = true, .lock = options_.lock_memory});
  if (!mapping) {
    return mapping.error();
  }
  session.peer = std::move(mapping).value();
  draft.peer_segment = shm::Segment{};
  if (const Error e = locked(session.peer); e.code != Errc::ok) {
    return e;
  }
  // Sizes are ours, not read back from the segment.
  const auto ring = static_cast<std::uint32_t>(session.own.size() - shm::kSegmentDataOffset);
  const auto control = static_cast<std::uint32_t>(bytes - shm::segment_bytes(ring, 0));
  const std::uint64_t start = shm::ring_start(session.number);
  session.out =
      shm::RingProducer(ring_memory(session.own, session.peer, ring, start), seq_cst_wakes_);
  session.in = shm::RingConsumer(ring_memory(session.peer, session.own, ring, start));
  if (control != 0) {
    shm::RingMemory memory = ring_memory(session.peer, session.own, control, start);
    memory.data = session.peer.ring() + ring;
    memory.consumer_pos = &session.own.front()->control_consumer_pos;
    session.control = shm::RingConsumer(memory);
  }
  return {};
}

void SessionMaker::welcome_observer(int socket) {
  shm::Welcome w = base_welcome();
  w.message_bytes_max = 0;  // it has no rings
  w.session = std::uint64_t{next_generation()} << 32;
  const shm::Ready ready{.session = w.session};
  if (shm::send_message(socket, shm::wire_bytes(w), {}, 0).code == Errc::ok) {
    (void)shm::send_message(socket, shm::wire_bytes(ready), {}, 0);
  }
}

std::string SessionMaker::why(const Error& error) {
  const std::string at = std::string(error.where) + ": ";
  if (error.where == kNotLocked) {
    return at + "raise ulimit -l (LimitMEMLOCK in the broker's unit), or leave --lock-memory out";
  }
  switch (error.os_errno) {
    case 0:
      return error.where;
    case EMFILE:
    case ENFILE:
      return at +
             "the broker has no descriptors left; raise ulimit -n (LimitNOFILE in its unit) or "
             "detach other peers";
    case ENOMEM:
      return at +
             "the broker has no memory left; raise its limit (ulimit -v, MemoryMax in its unit) or "
             "detach other peers";
    default:
      return at + std::generic_category().message(error.os_errno);
  }
}

void SessionMaker::refuse(int socket, const Refusal& refusal) {
  // Only these: a refusal that grants anything is malformed.
  shm::Welcome w;
  w.status = refusal.code;
  w.wake_mode = seq_cst_wakes_ ? shm::WakeMode::seq_cst : shm::WakeMode::membarrier;
  (void)shm::set_text(w.broker_version, kVersion);
  shm::set_reason(w.reason, refusal.reason);
  (void)shm::send_message(socket, shm::wire_bytes(w), {}, 0);
}

std::uint32_t SessionMaker::next_generation() noexcept {
  return ++generation_ != 0 ? generation_ : ++generation_;
}

void SessionMaker::release(const Session& session) {
  release_place(session);
  release_bytes(session);
}

void SessionMaker::release_place(const Session& session) {
  if (session.is_servant()) {
    classes_.leave(session.pool);
  }
  number_used_[session.number] = false;
}

void SessionMaker::release_bytes(const Session& session) noexcept {
  shared_bytes_ -= session.shared_bytes;
}

}  // namespace mserve::broker
