// SPDX-License-Identifier: Apache-2.0
// Messages become requests, or are answered here.
#include <algorithm>
#include <utility>

#include "gateway/admin_call.hpp"
#include "gateway/connection.hpp"
#include "gateway/query_wrap.hpp"
#include "gateway/told.hpp"
#include "mserve/kdb/codec.hpp"
#include "plugin/route_plugin.hpp"

namespace mserve::broker {

namespace {

/// Messages of one connection that may wait for an answer; beyond it the socket is not read.
constexpr std::uint32_t kPendingMax = 16384;

/// What a client's options say about its query.
struct Wishes {
  bool repeatable = true;  ///< `repeatable` is 0b: it is not to be run again.
  bool stamps = false;     ///< `stamps` is 1b: the info is to have them.
  bool hop = false;        ///< It came from another broker.
  shm::DeadlineExt deadline;
  std::uint8_t priority = shm::kPriorityDefault;
};

/// A time of a client's options: a timespan, or a number of milliseconds as everywhere in LBT's
/// dictionaries. 0 if it is missing or makes no sense.
std::uint64_t time_of(const kdb::Value& options, std::string_view key) {
  constexpr double kNsMax = 1e18;
  const std::optional<kdb::Value> value = options.find(key);
  const std::optional<double> number = value ? value->number() : std::nullopt;
  if (!number) {
    return 0;
  }
  const bool is_span = value->type_code() == -static_cast<std::int8_t>(kdb::Type::timespan);
  const double ns = is_span ? *number : *number * static_cast<double>(kMillisecond);
  return ns >= 1 && ns <= kNsMax ? static_cast<std::uint64_t>(ns) : 0;
}

Wishes wishes_of(std::span<const std::byte> options) {
  Wishes wishes;
  if (options.empty() || options.size() > kOptionsBytesMax) {
    return wishes;
  }
  if (const auto value = kdb::decode(options)) {
    wishes.repeatable = value->find("repeatable") != kdb::Value::boolean(false);
    wishes.stamps = value->find("stamps") == kdb::Value::boolean(true);
    wishes.hop = tells_hop(*value);
    wishes.deadline = {time_of(*value, "queue_timeout"), time_of(*value, "timeout")};
    const auto priority = value->find("priority");
    if (const auto number = priority ? priority->number() : std::nullopt; number && *number >= 0) {
      wishes.priority =
          static_cast<std::uint8_t>(std::min<double>(*number, double{shm::kPriorityMax}));
    }
  }
  return wishes;
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::vector<std::uint32_t> numbers_of(std::span<const SessionRow> sessions) {
  std::vector<std::uint32_t> numbers;
  numbers.reserve(sessions.size());
  for (const SessionRow& session : sessions) {
    numbers.push_back(session.number);
  }
  return numbers;
}

}  // namespace

// hot: one skip over a list of two or three, the route, one copy into the ring.
Connection::Step Connection::take_whole(const MessageReader::Event& event) {
  if (sends_broadcast_) [[unlikely]] {
    return send_broadcast();
  }
  if (flow_held_) {
    const Step step = send_held(anew_.payload.empty() ? event.bytes : anew_.payload);
    if (step == Step::done) {
      context_.buffers.give_back(anew_.payload);
    }
    return step;
  }
  const Classified message =
      classify(event.header.kind, event.bytes, context_.settings.rules, history_);
  switch (message.convention) {
    case Convention::flush:
      if (!may_ask(Convention::flush)) {
        return Step::held;
      }
      (void)new_pending(Convention::flush);
      advance();
      break;
    case Convention::ignored:
      note_ignored(event.header);
      break;
    case Convention::refused:
      answer_refused(message);
      break;
    case Convention::sync:
    case Convention::lbt:
    case Convention::np:
    case Convention::aw:
      if (!may_ask(message.convention)) {
        return Step::held;
      }
      if (may_be_admin_call(message.query)) [[unlikely]] {
        if (const std::optional<AdminCall> call = parse_admin_call(message.query)) {
          if (says_cancel(*call, message)) {
            cancel(*call);
          } else if (beats() || call->name == AdminCall::Name::cancel) {
            // Not the link's own, but what a client of its broker asked: not as that broker.
            answer_forbidden(message, "access");
          } else if (call->name == AdminCall::Name::beat) {
            answer_beat(*call, message);
          } else {
            answer_admin(*call, message);
          }
          break;
        }
        if (const std::optional<BroadcastCall> call =
                parse_broadcast_call(message.query, context_.link->whole_bytes_max())) {
          context_.counters.messages->add();  // once, however often it is held
          return begin_broadcast(*call, message);
        }
      }
      if ((role_ == nullptr && !wraps()
               ? submit(message, {message.query, message.payload, event.bytes,
                                  !message.options.empty(), user_})
               : submit_anew(message)) == Step::held) {
        return Step::held;
      }
      break;
  }
  context_.counters.messages->add();
  if (message.ambiguous) [[unlikely]] {
    note_ambiguous();
  }
  return Step::done;
}

/// Whether one more message may wait for an answer; otherwise hold_ says what it waits for.
bool Connection::may_ask(Convention convention) noexcept {
  const ConnectionSettings& settings = context_.settings;
  if (convention == Convention::sync && sync_count_ >= settings.sync_window) {
    hold_ = Hold::window;
  } else if (pending_count_ >= kPendingMax || kept_bytes_ > settings.max_pending_bytes / 2) {
    hold_ = Hold::answer;
  }
  return hold_ == Hold::none;
}

/// What goes on in a message's place. Says who asks: with --users in its options, and of a
/// restricted user only what was understood goes on, and as it was understood; with --wrap in front
/// of the query. @return false: it is answered with what forbids it.
bool Connection::put_anew(const Classified& message) {
  Admitted admitted;
  std::span<const std::byte> payload = message.payload;
  std::size_t query_bytes = message.query.size();
  Asker asker;
  if (const std::string fault = find_asker(message.options, asker); !fault.empty()) {
    answer_forbidden(message, fault);
    return false;
  }
  if (asker.role != nullptr) {
    auto judged = judge(message.query, message.options, {asker.user, *asker.role});
    if (!judged) {
      answer_forbidden(message, judged.error());
      return false;
    }
    admitted = std::move(judged).value();
    payload = admitted.payload;
    query_bytes = admitted.query_bytes;
  }
  anew_ = {.query_bytes = query_bytes, .user = std::move(asker.user)};
  if (!wraps()) {
    anew_.payload = std::move(admitted.payload);
    return true;
  }
  anew_.lead_bytes = wrap_lead_bytes(context_.settings.wrap, anew_.user);
  anew_.payload = context_.buffers.take();
  anew_.payload.reserve(anew_.lead_bytes + payload.size());
  put_wrap_lead(anew_.payload, context_.settings.wrap, anew_.user);
  append(anew_.payload, payload);
  return true;
}

Connection::Step Connection::submit_anew(const Classified& message) {
  // If there is one already, it waited for room in the ring.
  if (anew_.payload.empty() && !put_anew(message)) {
    return Step::done;
  }
  const std::span<const std::byte> payload = anew_.payload;
  const bool pair = payload.size() != anew_.lead_bytes + anew_.query_bytes;
  const Step step = submit(message, {payload.subspan(anew_.lead_bytes, anew_.query_bytes), payload,
                                     payload, pair, anew_.user});
  if (step == Step::done) {
    context_.buffers.give_back(anew_.payload);
  }
  return step;
}

/// @param query  perhaps only the beginning of it.
kdb::Route Connection::route_for(std::span<const std::byte> query,
                                 std::span<const std::byte> options, std::string_view user) {
  const mserve_route_table* const plugin = context_.settings.route_plugin;
  if (plugin == nullptr) [[likely]] {
    return kdb::route_of(query, context_.settings.route_rule, {.user = user, .options = options});
  }
  PluginRoute found = route_of(*plugin, query, user);
  if (found.fault) [[unlikely]] {
    context_.counters.misrouted->add();
    context_.misroutes.log(
        LogLevel::error, context_.now_ns, "route_plugin_fault",
        {{"name", plugin->name},
         {"reason", LogText{"gave more bytes than there is room for, or a zero byte; the "
                            "request has no route"}}});
  }
  return std::move(found.route);
}

/// What rules may ask about a query; nothing where there can be no rules.
shm::PlacementExt Connection::placement_for(std::span<const std::byte> query,
                                            std::string_view asker) const {
  if (!context_.settings.placing) [[likely]] {
    return {};
  }
  const kdb::RouteRule function{.kind = kdb::RouteRule::Kind::function};
  const kdb::RouteRule user{.kind = kdb::RouteRule::Kind::user};
  return {kdb::route_of(query, function).hash, kdb::route_of("", {}, user, {.user = asker}).hash};
}

Connection::Step Connection::submit(const Classified& message, const Forwarded& forwarded) {
  Pending& pending = new_pending(message.convention);
  describe(pending, message);
  kdb::Route route = route_for(forwarded.query, message.options, forwarded.user);
  pending.route = route.hash;
  pending.route_text = std::move(route.text);
  context_.route_names.note(pending.route, pending.route_text);
  pending.request_bytes = forwarded.payload.size();
  const Wishes wishes = wishes_of(message.options);
  pending.terms.deadline = wishes.deadline;
  pending.terms.placement = placement_for(forwarded.query, forwarded.user);
  pending.terms.here = beats() || (wishes.hop && believed());
  pending.terms.priority = wishes.priority;
  pending.stamps = wishes.stamps;
  const std::uint8_t flags = flags_of(message.convention, forwarded.pair, wishes.repeatable);
  note(pending, message);
  if (forwarded.payload.size() <= context_.link->whole_bytes_max()) [[likely]] {
    if (!context_.link->try_send(head_of(pending, flags), forwarded.payload)) {
      release(pending);
      hold_ = Hold::ring;
      return Step::held;
    }
    pending.sent_bytes = pending.request_bytes;
    count_request(pending);
    return Step::done;
  }
  flow_ = &pending;
  flow_held_ = true;
  flow_flags_ = flags;
  flow_offset_ = static_cast<std::size_t>(forwarded.payload.data() - forwarded.memory.data());
  count_request(pending);
  return send_held(forwarded.memory);
}

std::uint8_t Connection::flags_of(Convention convention, bool pair,
                                  bool repeatable) const noexcept {
  unsigned flags = pair ? shm::kFlagPair : 0U;
  if (pair && role_ != nullptr) {
    flags |= shm::kFlagVouched;
  }
  if (convention != Convention::sync && repeatable) {
    flags |= shm::kFlagRepeatable;  // as the scripts do; a sync client is told and decides itself
  }
  if (convention == Convention::lbt) {
    flags |= shm::kFlagWantInfo;
  }
  return static_cast<std::uint8_t>(flags);
}

RequestHead Connection::head_of(const Pending& pending, std::uint8_t flags) const noexcept {
  return {pending.id, pending.route, flags, origin_, pending.terms};
}

/// A node in the list where its convention belongs.
Pending& Connection::new_pending(Convention convention) {
  Pending& pending = context_.pendings.take();
  pending.owner = this;
  pending.convention = convention;
  pending.sequence = ++sequence_;
  pending.begun_ns = context_.now_ns;
  pending.qid = context_.next_qid;
  pending.silent = convention == Convention::aw && !context_.settings.async_reply;
  const bool ordered = convention != Convention::lbt && convention != Convention::np;
  (ordered && !pending.silent ? ordered_ : unordered_).add(pending);
  ++pending_count_;
  context_.counters.pending->set(context_.pendings.used());
  return pending;
}

void Connection::count_request(Pending& pending) noexcept {
  known_ = true;
  ++request_count_;
  ++context_.next_qid;
  pending.counted = pending.convention == Convention::sync;
  sync_count_ += pending.counted ? 1U : 0U;
  context_.counters.requests->add();
}

/// What the answer will need of the message.
void Connection::describe(Pending& pending, const Classified& message) {
  if (message.convention == Convention::lbt) {
    pending.id_size = static_cast<std::uint8_t>(message.id.size());
    std::copy(message.id.begin(), message.id.end(), pending.id_bytes.begin());
  } else if (message.convention == Convention::np) {
    pending.quoted = context_.buffers.take();
    append(pending.quoted, message.callback);
    append(pending.quoted, message.query);
    pending.callback_bytes = message.callback.size();
    kept_bytes_ += pending.quoted.size();
  }
}

/// What .mserve.queries[] will tell of the message.
void Connection::note(Pending& pending, const Classified& message) noexcept {
  note_query(message.query, pending.query_head);
  if (message.options.size() <= pending.options_head.size()) {
    std::copy(message.options.begin(), message.options.end(), pending.options_head.begin());
    pending.options_bytes = static_cast<std::uint8_t>(message.options.size());
  }
}

void Connection::answer_refused(const Classified& message) {
  Pending& pending = new_pending(message.refused_as);
  if (message.refused_as == Convention::lbt) {
    const std::span<const std::byte> id = null_id();
    pending.id_size = static_cast<std::uint8_t>(id.size());
    std::copy(id.begin(), id.end(), pending.id_bytes.begin());
  }
  pending.refused = true;
  answer_error(pending, message.reason);
}

/// What its user's role does not allow; no servant hears of it.
void Connection::answer_forbidden(const Classified& message, std::string_view reason) {
  context_.counters.forbidden->add();
  const Described self = describe();
  context_.oddities.log(
      LogLevel::warning, context_.now_ns, "gateway_forbidden",
      {self.client(), self.peer(), self.handle(), {"reason", LogText{std::string(reason)}}});
  Pending& pending = new_pending(message.convention);
  describe(pending, message);
  answer_error(pending, reason);
}

/// Whether it is one of --admin-users, as the kernel says: the name that a client gives counts for
/// nothing.
bool Connection::may_administer() const noexcept {
  const std::vector<uid_t>& admins = context_.settings.admin_uids;
  return !restricted() && peer_.kind == Peer::Kind::unix_socket &&
         std::find(admins.begin(), admins.end(), peer_.uid) != admins.end();
}

void Connection::answer_admin(const AdminCall& call, const Classified& message) {
  Pending& pending = new_pending(message.convention);
  describe(pending, message);
  const bool allowed = may_administer();
  if (!allowed || !call.fault.empty()) {
    answer_error(pending, allowed ? call.fault : "access");
    return;
  }
  const std::vector<std::byte> result = kdb::encode(context_.desk.admin_answer(call));
  answer(pending, {.result = result, .servant_info = {}, .error = {}});
}

/// @return held until all of its requests are sent.
Connection::Step Connection::begin_broadcast(const BroadcastCall& call, const Classified& message) {
  if (!may_broadcast() || !call.fault.empty()) {
    refuse_broadcast(message, may_broadcast() ? call.fault : "access");
    return Step::done;
  }
  const std::vector<SessionRow> servants = broadcast_targets(context_.desk.sessions(), call.group);
  if (servants.empty() || context_.broadcasts()) {
    refuse_broadcast(message, to_string(servants.empty() ? Errc::no_servant : Errc::busy));
    return Step::done;
  }
  std::vector<std::byte> payload = call.query;
  append(payload, message.options);
  bool pair = !message.options.empty();
  if (role_ != nullptr || wraps()) {
    Classified inner = message;
    inner.payload = payload;
    inner.query = inner.payload.first(call.query.size());
    if (!put_anew(inner)) {
      return Step::done;
    }
    payload = std::exchange(anew_.payload, {});
    pair = payload.size() != anew_.lead_bytes + anew_.query_bytes;
  }
  if (payload.size() > context_.link->whole_bytes_max()) {
    refuse_broadcast(message, "limit");
    return Step::done;
  }
  Pending& caller = new_pending(message.convention);
  describe(caller, message);
  note(caller, message);
  caller.request_bytes = caller.sent_bytes = payload.size();
  count_request(caller);
  context_.broadcast = std::make_unique<Broadcast>(Broadcast{
      .owner = this,
      .caller = caller.id,
      .servants = numbers_of(servants),
      .payload = std::move(payload),
      .flags = flags_of(Convention::sync, pair, false),  // each is for one servant, or for none
      .deadline = wishes_of(message.options).deadline,
      .table = BroadcastTable(servants, context_.settings.max_gathered)});
  sends_broadcast_ = true;
  return send_broadcast();
}

void Connection::refuse_broadcast(const Classified& message, std::string_view error) {
  Pending& pending = new_pending(message.convention);
  describe(pending, message);
  answer_error(pending, error);
}

void Connection::note_ignored(const kdb::Header& header) {
  context_.counters.ignored->add();
  const Described self = describe();
  context_.oddities.log(
      LogLevel::warning, context_.now_ns, "gateway_ignored",
      {self.client(),
       self.peer(),
       self.handle(),
       {"what", header.kind == kdb::MessageKind::response ? "response" : "error"}});
}

void Connection::note_ambiguous() {
  context_.counters.ambiguous->add();
  if (!history_.told) {
    history_.told = true;
    const Described self = describe();
    context_.oddities.log(
        LogLevel::info, context_.now_ns, "gateway_ambiguous",
        {self.client(),
         self.peer(),
         self.handle(),
         {"note", LogText{"see --protocol-default: (string; symbol) may be np as well as aw"}}});
  }
}

}  // namespace mserve::broker
