// SPDX-License-Identifier: Apache-2.0
// Requests in fragments: those that had to be held whole, and those that go on as they arrive. The
// first fragment goes at once, the next ones as the data plane grants them, so that nobody's large
// request fills the ring for everybody.
#include <algorithm>

#include "gateway/connection.hpp"
#include "gateway/query_wrap.hpp"

namespace mserve::broker {

namespace {

/// The data plane keeps a copy of the first fragment until a servant is found.
constexpr std::uint64_t kFirstFragmentMax = 64U << 10;

bool is_dictionary(std::int8_t type) noexcept {
  return type == static_cast<std::int8_t>(kdb::Type::dict) ||
         type == static_cast<std::int8_t>(kdb::Type::sorted_dict);
}

}  // namespace

/// Payload bytes of flow_ that may be sent now.
std::uint64_t Connection::may_send() const noexcept {
  return flow_->sent_bytes == 0 ? first_fragment_bytes_max()
                                : std::min(context_.link->fragment_bytes_max(),
                                           flow_->granted_bytes - flow_->sent_bytes);
}

std::uint64_t Connection::first_fragment_bytes_max() const noexcept {
  return std::min(context_.link->fragment_bytes_max(), kFirstFragmentMax);
}

/// Bytes of the body that can be taken now from a message that comes in pieces.
std::size_t Connection::piece_bytes_max() const noexcept {
  return flow_ != nullptr && !flow_held_
             ? flow_skip_ + static_cast<std::size_t>(may_send()) - flow_lead_
             : context_.scratch.size();
}

/// Sends the next fragment of flow_. @return false: no room in the ring.
bool Connection::send_fragment(std::span<const std::byte> bytes) {
  const shm::FlowExt place{flow_->sent_bytes, flow_->request_bytes};
  if (!context_.link->try_fragment(head_of(*flow_, flow_flags_), place, bytes)) {
    hold_ = Hold::ring;
    return false;
  }
  // What was sent before the first grant counts as granted.
  flow_->granted_bytes += flow_->sent_bytes == 0 ? bytes.size() : 0;
  flow_->sent_bytes += bytes.size();
  return true;
}

/// The same for what came of the message; in front of the first piece goes what wraps the query.
bool Connection::send_piece(std::span<const std::byte> bytes) {
  if (flow_lead_ == 0) [[likely]] {
    return send_fragment(bytes);
  }
  std::vector<std::byte> fragment = context_.buffers.take();
  put_wrap_lead(fragment, context_.settings.wrap, user_);
  fragment.insert(fragment.end(), bytes.begin(), bytes.end());
  const bool sent = send_fragment(fragment);
  context_.buffers.give_back(fragment);
  flow_lead_ = sent ? 0 : flow_lead_;
  return sent;
}

/// Goes on with a request whose whole message is held. @return held until its last byte is sent.
Connection::Step Connection::send_held(std::span<const std::byte> body) {
  while (flow_ != nullptr && flow_->sending()) {
    const std::uint64_t bytes = std::min(may_send(), flow_->request_bytes - flow_->sent_bytes);
    if (bytes == 0) {
      hold_ = Hold::grant;
      return Step::held;
    }
    const std::size_t from = flow_offset_ + static_cast<std::size_t>(flow_->sent_bytes);
    if (!send_fragment(body.subspan(from, static_cast<std::size_t>(bytes)))) {
      return Step::held;
    }
  }
  flow_ = nullptr;
  flow_held_ = false;
  return Step::done;
}

Connection::Step Connection::take_begin(const MessageReader::Event& event) {
  const StreamHead head =
      classify_head(event.header.kind, event.bytes, context_.settings.rules, history_);
  if (head.gather) {
    reader_.hold();
    return Step::done;
  }
  const bool request =
      head.convention != Convention::ignored && head.convention != Convention::refused;
  if (request && !may_ask(head.convention)) {
    return Step::held;
  }
  if (request && role_ != nullptr && (!restricted() || event.body_bytes <= kJudgedBytesMax)) {
    reader_.hold();  // it is looked at as a whole, and who asks is said behind it
    return Step::done;
  }
  const std::size_t lead = wraps() ? wrap_lead_bytes(context_.settings.wrap, user_) : 0;
  if (request && role_ == nullptr && lead > first_fragment_bytes_max() / 2) {
    reader_.hold();  // a user's name may be longer than what small rings take
    return Step::done;
  }
  context_.counters.messages->add();
  const bool broadcast = request && names_broadcast(event.bytes.subspan(head.payload_offset));
  if (request && (restricted() || broadcast)) {
    Classified message;
    message.convention = head.convention;
    message.id = head.id;
    if (restricted()) {
      answer_forbidden(message, "limit");
    } else {
      refuse_broadcast(message, may_broadcast() ? "limit" : "access");
    }
    swallowing_ = true;
    return Step::done;
  }
  if (head.convention == Convention::ignored) {
    note_ignored(event.header);
  } else if (head.convention == Convention::refused) {
    Classified message;
    message.refused_as = head.refused_as;
    message.reason = head.reason;
    answer_refused(message);
  }
  swallowing_ = !request;
  if (request) {
    Classified message;
    message.convention = head.convention;
    message.id = head.id;
    flow_ = &new_pending(head.convention);
    describe(*flow_, message);
    flow_held_ = false;
    flow_pair_ = head.pair;
    flow_flags_ = flags_of(head.convention, head.pair, false);  // nobody keeps what streams
    flow_skip_ = head.payload_offset;
    flow_lead_ = lead;
    flow_->request_bytes = lead + event.body_bytes - head.payload_offset;
    // Of a call the first arguments are there, which is all that a route needs; options are not.
    const std::span<const std::byte> query = event.bytes.subspan(head.payload_offset);
    kdb::Route route = route_for(query, {}, user_);
    flow_->route = route.hash;
    flow_->route_text = std::move(route.text);
    context_.route_names.note(flow_->route, flow_->route_text);
    flow_->terms.placement = placement_for(query, user_);
    flow_->terms.here = beats();
    count_request(*flow_);
  }
  return Step::done;
}

Connection::Step Connection::take_piece(const MessageReader::Event& event) {
  if (flow_ == nullptr) {
    swallowing_ = swallowing_ && !event.last;
    return Step::done;
  }
  if (event.last && flow_pair_ && !is_dictionary(event.item_type)) {
    // Only now it shows, and nothing but its last fragment was sent.
    break_flow("not (id; query) or (id; query; options)");
    return Step::done;
  }
  const std::size_t skip = std::min(flow_skip_, event.bytes.size());
  const std::span<const std::byte> payload = event.bytes.subspan(skip);
  if (!payload.empty() && !send_piece(payload)) {
    return Step::held;
  }
  flow_skip_ -= skip;
  if (event.last) {
    flow_ = nullptr;
  }
  return Step::done;
}

/// The request was answered before all of it was sent: nothing more of it goes out.
void Connection::stop_flow(const Pending& pending) noexcept {
  if (flow_ == &pending) {
    flow_ = nullptr;
    swallowing_ = !flow_held_;
  }
}

/// The rest of the request cannot come: the servant's side is told, and the client.
void Connection::break_flow(std::string_view error) {
  Pending& broken = *flow_;
  if (broken.sent_bytes != 0) {
    context_.link->abort(broken.id, origin_);
  }
  flow_ = nullptr;
  answer_error(broken, error);
}

void Connection::on_grant(Pending& pending, std::uint64_t bytes) {
  // More than it has is a promise that costs nothing; the sum must not wrap.
  pending.granted_bytes = std::min(pending.request_bytes,
                                   pending.granted_bytes + std::min(bytes, pending.request_bytes));
  if (flow_ == &pending) {
    settle();
  }
}

}  // namespace mserve::broker
