// SPDX-License-Identifier: Apache-2.0
#include "control/request_log.hpp"

#include "mserve/shm/clock.hpp"
#include "mserve/shm/monitor.hpp"
#include "wall_clock.hpp"

namespace mserve::broker {

namespace {

/// The session, if it is still the one that was meant.
const Session* find(std::span<const std::unique_ptr<Session>> sessions, std::uint32_t number,
                    std::uint32_t generation) noexcept {
  const Session* const there = number < sessions.size() ? sessions[number].get() : nullptr;
  return there != nullptr && there->generation == generation ? there : nullptr;
}

/// A gateway's own user is nobody's who asks.
std::optional<uid_t> user_of(const Session& client) noexcept {
  return client.is_gateway() ? std::nullopt : std::optional<uid_t>(client.uid);
}

LogValue numbered(std::uint32_t number, std::uint32_t from) noexcept {
  return number == kNone ? LogValue(std::nullopt) : LogValue(number + from);
}

LogValue named(std::string_view name) noexcept {
  return name.empty() ? LogValue(std::nullopt) : LogValue(name);
}

}  // namespace

void RequestLog::take(std::span<const std::unique_ptr<Session>> sessions) {
  const std::int64_t wall_offset = wall_now() - static_cast<std::int64_t>(shm::steady_now());
  RequestStamps stamps;
  for (std::size_t i = 0; i < setup_.stamps->capacity() && setup_.stamps->try_take(stamps); ++i) {
    const Session* const client = find(sessions, stamps.client, stamps.client_generation);
    const Session* const servant = find(sessions, stamps.servant, stamps.servant_generation);
    const std::string route_name = shm::monitor_route_name(setup_.names, stamps.route);
    EndedRequest request{.stamps = stamps, .route_name = route_name};
    if (client != nullptr) {
      request.client = client->name;
      request.uid = user_of(*client);
    } else if (const auto gone = gone_.find(stamps.client);
               gone != gone_.end() && gone->second.generation == stamps.client_generation) {
      request.client = gone->second.name;
      request.uid = gone->second.uid;
    }
    if (servant != nullptr) {
      request.servant = servant->name;
    }
    if (stamps.slow) {
      tell_slow(request);
    }
    if (stamps.traced && setup_.trace != nullptr) {
      setup_.trace->add(request, wall_offset);
    }
  }
}

void RequestLog::remember(const Session& session) {
  if (!session.is_servant()) {
    gone_[session.number] = {session.generation, session.name, user_of(session)};
  }
}

void RequestLog::tell_slow(const EndedRequest& request) {
  const RequestStamps& stamps = request.stamps;
  const std::string route = route_text(stamps.route);
  limiter_.log("slow_query", LogLevel::warning, shm::steady_now(), "slow_query",
               {{"request", stamps.client_id},
                {"client", named(request.client)},
                {"client_session", numbered(stamps.client, 1)},
                {"connection", numbered(stamps.connection, 0)},
                {"uid", request.uid ? LogValue(*request.uid) : LogValue(std::nullopt)},
                {"servant", named(request.servant)},
                {"servant_session", numbered(stamps.servant, 1)},
                {"route", named(route)},
                {"route_name", named(request.route_name)},
                {"status", to_string(stamps.status)},
                {"bytes", stamps.bytes},
                {"reply_bytes", stamps.reply_bytes},
                {"queue_ns", request.queue_ns()},
                {"execution_ns", request.execution_ns()},
                {"whole_ns", request.whole_ns()}});
}

void RequestLog::tick(Nanos now) {
  limiter_.tell_swallowed(now);
  if (setup_.trace != nullptr) {
    setup_.trace->flush();
  }
}

Nanos RequestLog::patience_ns() const noexcept {
  // At ten million requests a second each of these fills 50,000 of kTraceQueue places.
  constexpr Nanos kPerEvery = 5'000'000;
  const std::uint32_t every = trace_every();
  return every == 0 ? kForever : every * kPerEvery;
}

}  // namespace mserve::broker
