// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/query.hpp"

#include <string>
#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"

namespace mserve {
namespace {

kdb::Value info_value(const shm::InfoExt& info, std::string_view route_text) {
  const auto ms = [](std::uint64_t ns) {
    return kdb::Value::long_atom(static_cast<std::int64_t>((ns + 500'000) / 1'000'000));
  };
  return kdb::Value::dict(
      kdb::Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}),
      kdb::Value::list({kdb::Value::symbol(info.servant), ms(info.elapsed_ns),
                        ms(info.execution_ns), kdb::Value::symbol(route_text),
                        kdb::Value::long_atom(info.backlog),
                        kdb::Value::long_atom(info.remaining)}));
}

SendOptions send_options(const Query& query, const QueryOptions& options) noexcept {
  SendOptions send;
  send.route = query.route_hash;
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
  if (reply.info) {
    answer.info = info_value(*reply.info, route_text);
  }
  return answer;
}

}  // namespace

Query make_query(std::string_view q_text, std::string_view route_rule) {
  Query query;
  query.object = kdb::encode(kdb::Value::chars(std::string(q_text)));
  if (const auto rule = kdb::parse_rule(route_rule)) {
    kdb::Route route = kdb::route_of(query.object, rule.value());
    query.route_hash = route.hash;
    query.route_text = std::move(route.text);
  }
  return query;
}

Result<std::uint64_t> send_query(Client& client, const Query& query, const QueryOptions& options,
                                 std::uint64_t deadline_ns) {
  return client.send(query.object, send_options(query, options), deadline_ns);
}

Result<Answer> answer_of(const Reply& reply, std::string_view route_text) {
  // decode() looks at the bytes twice, and those in the broker's ring may change in between.
  return decode_answer(*OwnedReply(reply), route_text);
}

Result<Answer> query(Client& client, std::string_view q_text, const QueryOptions& options,
                     std::uint64_t deadline_ns) {
  const Query made = make_query(q_text, client.session().route_rule);
  const auto reply = client.call(made.object, send_options(made, options), deadline_ns);
  if (!reply) {
    return reply.error();
  }
  return decode_answer(*reply.value(), made.route_text);
}

}  // namespace mserve
