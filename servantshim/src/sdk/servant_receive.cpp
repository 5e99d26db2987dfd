// SPDX-License-Identifier: Apache-2.0
// Servants that run their requests themselves.
#include <algorithm>
#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/servant/servant.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/frame.hpp"
#include "servant_parts.hpp"

namespace mserve::servant {
namespace {

/// The type number of kdb+ error objects.
constexpr std::int8_t kErrorType = -128;

}  // namespace

void Servant::Parts::give_out(Engine::Held held, Request& out) {
  Taken& entry = taken.emplace_back(Taken{++last_id, sessions, std::move(held)});
  const std::span<const std::byte> bytes(entry.held.payload);
  out.id = entry.id;
  out.opaque = (entry.held.flags & shm::kFlagOpaque) != 0;
  out.payload = bytes;
  out.options = {};
  if ((entry.held.flags & shm::kFlagPair) != 0) {
    if (const kdb::Result<std::size_t> query_bytes = kdb::skip(bytes)) {
      out.payload = bytes.first(*query_bytes);
      out.options = bytes.subspan(*query_bytes);
    }
  }
}

/// One pass. @return `ok` something was done, and out.id is not 0 if it was a request; else as
/// poll_once().
Errc Servant::Parts::receive_once(Request& out) {
  if (!attachment) {
    return attach_if_due();
  }
  const Progress progress = engine.finish(attachment->outgoing(), attachment->incoming());
  if (progress == Progress::broken) {
    return session_ended(engine.fault(), "the broker broke the protocol");
  }
  if (progress == Progress::worked) {
    attachment->wake_broker();
    retry_wait_ns = 0;  // this broker works: the next time starts with the shortest pause again
  }
  if (taken.size() == taken.capacity()) {
    taken.reserve(2 * taken.size() + 8);  // now, while nothing is lost if it fails
  }
  if (std::optional<Engine::Held> held = engine.hold()) {
    give_out(std::move(*held), out);
    return Errc::ok;
  }
  if (progress == Progress::worked || (progress == Progress::idle && !engine.idle())) {
    return Errc::ok;  // something was read, or hold() refused a request
  }
  if (look_after_broker() != Errc::ok) {
    return broker_ended();
  }
  return progress == Progress::blocked ? Errc::full : Errc::empty;
}

Errc Servant::receive(Request& out, std::uint64_t deadline_ns) {
  Parts& p = *parts_;
  const std::uint64_t until_ns = deadline_ns == 0 ? UINT64_MAX : deadline_ns;
  out = {};
  while (!p.stopping.load(std::memory_order_relaxed)) {  // a flag of its own
    const Errc done = p.receive_once(out);
    if (done != Errc::ok && deadline_ns != 0 && shm::steady_now() >= deadline_ns) {
      return done == Errc::empty || done == Errc::full ? Errc::timed_out : done;
    }
    const Errc code = p.wait_after(done, until_ns);
    if (code != Errc::ok || out.id != 0) {
      return code;
    }
  }
  return Errc::cancelled;
}

Errc Servant::reply(std::uint64_t id, std::span<const std::byte> payload, bool opaque) {
  Parts& p = *parts_;
  const auto found = std::find_if(p.taken.begin(), p.taken.end(),
                                  [id](const Parts::Taken& entry) { return entry.id == id; });
  if (found == p.taken.end()) {
    return Errc::invalid;
  }
  Errc status = Errc::ok;
  if (!opaque) {
    const kdb::Result<std::int8_t> type = kdb::validate(payload);
    if (!type) {
      return Errc::invalid;
    }
    status = *type == kErrorType ? Errc::failed : Errc::ok;
  }
  const bool alive = p.attachment.has_value() && found->session == p.sessions;
  if (alive && payload.size() > p.engine.message_bytes_max()) {
    return Errc::too_large;
  }
  Parts::Taken taken = std::move(*found);
  p.taken.erase(found);
  return alive ? p.send_answer(std::move(taken), payload, opaque, status) : Errc::disconnected;
}

Errc Servant::reply_error(std::uint64_t id, std::string_view text) {
  return reply(id, kdb::encode(kdb::Value::error(std::string(text))));
}

Errc Servant::Parts::send_answer(Taken answered, std::span<const std::byte> payload, bool is_opaque,
                                 Errc status) {
  // Another one may be under way: the refusal of a request that was too large.
  if (const Errc code = send_pending(); code != Errc::ok) {
    return code;
  }
  engine.answer(answered.held.slot, payload, is_opaque, status, std::move(answered.held.payload));
  try {
    return send_pending();
  } catch (...) {
    attachment.reset();  // the engine still points into `payload`: nothing may send it any more
    throw;
  }
}

Errc Servant::Parts::send_pending() {
  std::uint64_t until_ns = UINT64_MAX;
  while (!engine.idle()) {
    const Progress progress = engine.finish(attachment->outgoing(), attachment->incoming());
    if (progress == Progress::worked) {
      attachment->wake_broker();
      room_idler.reset();
      continue;
    }
    if (progress == Progress::broken) {
      (void)session_ended(engine.fault(), "the broker broke the protocol");
      return Errc::disconnected;
    }
    if (look_after_broker() != Errc::ok) {
      (void)broker_ended();
      return Errc::disconnected;
    }
    if (stopping.load(std::memory_order_relaxed)) {  // a flag of its own
      const std::uint64_t now_ns = shm::steady_now();
      until_ns = std::min(until_ns, shm::add_capped(now_ns, options.stop_ns_max));
      if (now_ns >= until_ns) {
        (void)session_ended(Errc::timed_out, "the broker did not read before the stop was due");
        return Errc::disconnected;
      }
    }
    wait_for_room();
  }
  return Errc::ok;
}

}  // namespace mserve::servant
