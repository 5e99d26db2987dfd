// SPDX-License-Identifier: Apache-2.0
// Loop: from received bytes to the answer of the form that was chosen.
#include <unistd.h>

#include <csignal>
#include <utility>

#include "standin/loop.hpp"
#include "standin/wire.hpp"

namespace mserve::test {
namespace {

using kdb::MessageKind;
using kdb::Value;

constexpr std::uint64_t kMessageBytesAccepted = std::uint64_t{8} << 30;

bool is_empty_text(const Value& value) {
  return value.is_string() && value.count() == 0;
}

/// Not a query that counts, waits or dies: shims ask it before they bring any.
bool asks_process(const Value& value) {
  return value.is_string() && value.text_view() == ".z.i";
}

/// What a servant has to say about itself. Its `route` is one that the broker must not believe.
Value servant_info(std::uint64_t served) {
  return Value::dict(
      Value::symbols({"served", "route"}),
      Value::list({Value::long_atom(static_cast<std::int64_t>(served)), Value::symbol("standin")}));
}

}  // namespace

void Loop::serve(Connection& connection) {
  std::size_t used = 0;
  while (!connection.closed && !connection.die_at && !finished_ && !given_up()) {
    const std::size_t step =
        serve_one(connection, std::span<const std::byte>(connection.in).subspan(used));
    if (step == 0) {
      break;
    }
    used += step;
  }
  connection.in.erase(connection.in.begin(),
                      connection.in.begin() + static_cast<std::ptrdiff_t>(used));
}

/// @return the bytes it took; 0 when more have to come first, or the connection is done with.
std::size_t Loop::serve_one(Connection& connection, std::span<const std::byte> bytes) {
  if (!connection.accepted) {
    return open_up(connection, bytes);
  }
  if (bytes.size() < kdb::kHeaderBytes) {
    return 0;
  }
  const kdb::Result<kdb::Header> header = kdb::parse_header(bytes);
  if (!header || header->message_bytes > kMessageBytesAccepted) {
    connection.closed = true;  // as q does after 'badmsg
    return 0;
  }
  const auto size = static_cast<std::size_t>(header->message_bytes);
  if (bytes.size() < size) {
    return 0;
  }
  kdb::MessageLimits limits;
  limits.plain_bytes_max = kMessageBytesAccepted;
  const kdb::Result<kdb::Message> message = kdb::decode_message(bytes.first(size), limits);
  if (!message) {
    connection.closed = true;
    return 0;
  }
  counters_.messages.fetch_add(1, std::memory_order_release);
  handle(connection, *message);
  return size;
}

std::size_t Loop::open_up(Connection& connection, std::span<const std::byte> bytes) {
  const std::optional<Handshake> handshake = parse_handshake(bytes);
  if (!handshake) {
    return 0;
  }
  if (occasion(Die::handshake)) {
    die(connection);
    return 0;
  }
  if (!may_enter(connection, handshake->credentials)) {
    counters_.refused.fetch_add(1, std::memory_order_release);
    connection.closed = true;
    return 0;
  }
  connection.accepted = true;
  connection.capability = std::min(handshake->capability, options_.capability);
  connection.user = user_of(handshake->credentials);
  connection.out.push_back(std::byte{connection.capability});
  counters_.open.fetch_add(1, std::memory_order_release);
  counters_.connections.fetch_add(1, std::memory_order_release);
  return handshake->bytes;
}

bool Loop::may_enter(const Connection& connection, const std::string& credentials) const {
  if (!options_.user.empty() && credentials != options_.user &&
      !credentials.starts_with(options_.user + ":")) {
    return false;
  }
  return options_.servant_of.empty() ||
         (connection.address == options_.servant_of &&
          counters_.connections.load(std::memory_order_relaxed) == 0);
}

void Loop::handle(Connection& connection, const kdb::Message& message) {
  const MessageKind kind = message.header.kind;
  if (kind == MessageKind::response || (kind == MessageKind::async && message.value.is_error())) {
    return;
  }
  if (options_.form == Form::plain) {
    handle_plain(connection, message);
  } else {
    handle_lbt(connection, message);
  }
}

void Loop::handle_plain(Connection& connection, const kdb::Message& message) {
  const bool sync = message.header.kind == MessageKind::sync;
  if (is_empty_text(message.value)) {
    if (sync) {
      reply(connection, Value::null(), MessageKind::response, MayDie::no);
    }
    return;
  }
  if (asks_process(message.value)) {
    if (sync) {
      reply(connection,
            options_.process != 0 ? Value::int_atom(options_.process) : Value::error("access"),
            MessageKind::response, MayDie::no);
    }
    return;
  }
  const std::optional<Outcome> outcome = run_query(connection, message.value, Value::null());
  if (outcome && sync) {
    reply(connection, plain_answer(*outcome), MessageKind::response, MayDie::yes);
  }
}

void Loop::handle_lbt(Connection& connection, const kdb::Message& message) {
  if (message.header.kind == MessageKind::sync) {
    // .z.pg of both scripts returns this text whatever was asked: a result, no error.
    reply(connection, Value::chars("USE ASYNC"), MessageKind::response, MayDie::no);
    return;
  }
  const std::span<const Value> items = message.value.list_items();
  if (items.size() < 2) {
    return;  // q would print an error on its console
  }
  const Value& id = items[0];
  const Value& query = items[1];
  if (is_empty_text(query)) {
    reply(connection, Value::list({id, Value::chars("Error: unknown command: ")}),
          MessageKind::async, MayDie::no);
    return;
  }
  if (asks_process(query)) {
    reply(connection,
          Value::list({id, options_.process != 0 ? Value::int_atom(options_.process)
                                                 : Value::chars("Error: unknown command: .z.i")}),
          MessageKind::async, MayDie::no);
    return;
  }
  const std::optional<Outcome> outcome =
      run_query(connection, query, items.size() > 2 ? items[2] : Value::null());
  if (!outcome) {
    return;
  }
  std::vector<Value> answer = {id, lbt_answer(*outcome)};
  if (options_.info) {
    answer.push_back(servant_info(counters_.queries.load(std::memory_order_relaxed)));
  }
  reply(connection, Value::list(std::move(answer)), MessageKind::async, MayDie::yes);
}

/// @return nothing when it, or the connection, was given up meanwhile.
std::optional<Outcome> Loop::run_query(Connection& connection, const Value& query,
                                       const Value& options) {
  counters_.queries.fetch_add(1, std::memory_order_release);
  if (occasion(Die::on_query)) {
    die(connection);
    return std::nullopt;
  }
  // What is answered already must not wait for a query behind it; q writes before it goes on, too.
  flush(connection);
  wait(options_.slow_ms);
  if (given_up()) {
    return std::nullopt;
  }
  Outcome outcome = evaluator_.evaluate(query, {connection.user, options});
  if (interrupt_.exchange(false, std::memory_order_acq_rel)) {
    outcome = {Outcome::Kind::done, std::move(outcome.name), Value::error("stop")};
  }
  return given_up() ? std::nullopt : std::optional(std::move(outcome));
}

void Loop::reply(Connection& connection, const Value& value, MessageKind kind, MayDie may) {
  const std::vector<std::byte> message =
      encode_reply(value, kind, options_.reply, connection.capability);
  const std::size_t begin = connection.out.size();
  connection.out.insert(connection.out.end(), message.begin(), message.end());
  ++connection.answers;
  if (may == MayDie::yes && occasion(Die::mid_reply)) {
    connection.die_at = begin + message.size() / 2;
  } else if (may == MayDie::yes && occasion(Die::after_reply)) {
    connection.die_at = begin + message.size();
  }
}

bool Loop::occasion(Die point) noexcept {
  return options_.die == point && occasions_++ >= options_.die_after;
}

void Loop::die(Connection& connection) {
  switch (options_.dies) {
    case Dies::connection:
      connection.closed = true;
      return;
    case Dies::standin:
      finished_ = true;
      return;
    case Dies::process:
      kill(getpid(), SIGKILL);
  }
}

}  // namespace mserve::test
