// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/query.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"

namespace mserve {
namespace {

/// @param own  the servant's own dictionary: what it says under other keys is appended.
kdb::Value info_value(const shm::InfoExt& info, std::string_view route_text,
                      const kdb::Value& own) {
  const auto ms = [](std::uint64_t ns) {
    return kdb::Value::long_atom(static_cast<std::int64_t>((ns + 500'000) / 1'000'000));
  };
  std::vector<std::string> keys = {"qsvr", "elapsed", "execution", "route", "backlog", "remaining"};
  std::vector<kdb::Value> values = {kdb::Value::symbol(info.servant),
                                    ms(info.elapsed_ns),
                                    ms(info.execution_ns),
                                    kdb::Value::symbol(route_text),
                                    kdb::Value::long_atom(info.backlog),
                                    kdb::Value::long_atom(info.remaining)};
  const auto own_keys =
      own.is_dict() ? own.keys().items<std::string>() : std::span<const std::string>();
  for (std::size_t i = 0; i < own_keys.size(); ++i) {
    if (std::find(keys.begin(), keys.end(), own_keys[i]) == keys.end()) {
      keys.push_back(own_keys[i]);
      values.push_back(own.at(i));
    }
  }
  return kdb::Value::dict(kdb::Value::symbols(std::move(keys)),
                          kdb::Value::list(std::move(values)));
}

std::uint64_t function_hash_of(std::span<const std::byte> query) {
  return kdb::route_of(query, {.kind = kdb::RouteRule::Kind::function}).hash;
}

std::uint64_t user_hash_of(const kdb::RouteContext& context) {
  return kdb::route_of("", {}, {.kind = kdb::RouteRule::Kind::user}, context).hash;
}

/// The info dictionary of a reply; `::` when it has none.
kdb::Value info_of(const Reply& reply, std::string_view route_text) {
  auto object = kdb::decode(reply.info_object);
  kdb::Value own = object ? std::move(object).value() : kdb::Value();
  if (reply.info_complete) {
    return own;
  }
  return reply.info ? info_value(*reply.info, route_text, own) : kdb::Value();
}

/// @param placing  the broker has rules that go by function and user.
SendOptions send_options(const Query& query, const QueryOptions& options, bool placing) {
  SendOptions send;
  send.priority = options.priority;
  if (placing) {
    send.function = query.function_hash;
    send.user = query.user_hash;
  }
  send.route = options.route.empty() ? query.route_hash : kdb::route_of_text(options.route).hash;
  send.want_info = options.want_info;
  send.repeatable = options.repeatable;
  return send;
}

/// @param reply  its payload lies in private memory.
Result<Answer> decode_answer(const Reply& reply, std::string_view route_text) {
  if (reply.status != Errc::ok && reply.status != Errc::failed) {
    return Error{reply.status, 0, "answer"};
  }
  auto decoded = kdb::decode(reply.payload);
  if (reply.opaque || !decoded || (reply.status == Errc::failed && !decoded.value().is_error())) {
    return Error{Errc::protocol, 0, "answer is no kdb+ object"};
  }
  Answer answer;
  answer.id = reply.id;
  answer.result = std::move(decoded).value();
  answer.info = info_of(reply, route_text);
  return answer;
}

}  // namespace

Query make_query(std::string_view q_text, std::string_view route_rule, std::string_view user) {
  Query query;
  query.object = kdb::encode(kdb::Value::chars(std::string(q_text)));
  if (const auto rule = kdb::parse_rule(route_rule)) {
    kdb::Route route = kdb::route_of(query.object, rule.value(), {.user = user, .options = {}});
    query.route_hash = route.hash;
    query.route_text = std::move(route.text);
  }
  return query;
}

Query make_query(std::string_view q_text, const Client& client) {
  const shm::SessionInfo& session = client.session();
  Query query = make_query(q_text, session.route_rule, client.user());
  if (!session.placement) {
    return query;
  }
  query.function_hash = function_hash_of(query.object);
  query.user_hash = user_hash_of({.user = client.user(), .options = {}});
  return query;
}

SendOptions placed(std::span<const std::byte> object, const Client& client, SendOptions options) {
  const shm::SessionInfo& session = client.session();
  std::span<const std::byte> query = object;
  kdb::RouteContext context{.user = client.user(), .options = {}};
  if (options.pair) {
    if (const auto query_bytes = kdb::skip(object)) {
      query = object.first(*query_bytes);
      context.options = object.subspan(*query_bytes);
    }
  }
  if (options.route == 0) {
    if (const auto rule = kdb::parse_rule(session.route_rule)) {
      options.route = kdb::route_of(query, rule.value(), context).hash;
    }
  }
  if (session.placement) {
    if (options.function == 0) {
      options.function = function_hash_of(query);
    }
    if (options.user == 0) {
      options.user = user_hash_of(context);
    }
  }
  return options;
}

Result<std::uint64_t> send_query(Client& client, const Query& query, const QueryOptions& options,
                                 std::uint64_t deadline_ns) {
  return client.send(query.object, send_options(query, options, client.session().placement),
                     deadline_ns);
}

Result<Answer> answer_of(const Reply& reply, std::string_view route_text) {
  // decode() looks at the bytes twice, and those in the broker's ring may change in between.
  return decode_answer(*OwnedReply(reply), route_text);
}

Result<Answer> query(Client& client, std::string_view q_text, const QueryOptions& options,
                     std::uint64_t deadline_ns) {
  Query made = make_query(q_text, client);
  if (!options.route.empty()) {
    made.route_text = options.route;
  }
  const auto reply = client.call(
      made.object, send_options(made, options, client.session().placement), deadline_ns);
  if (!reply) {
    return reply.error();
  }
  return decode_answer(*reply.value(), made.route_text);
}

}  // namespace mserve
