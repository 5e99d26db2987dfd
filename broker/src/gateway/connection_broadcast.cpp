// SPDX-License-Identifier: Apache-2.0
// A broadcast under way: one request to each servant, whose answers become rows of one table.
#include "gateway/connection.hpp"

namespace mserve::broker {

/// With --users whoever may ask anything; else whoever may ask the gateway itself, since it stops a
/// whole group. No link: what it is sent is for one servant.
bool Connection::may_broadcast() const noexcept {
  return !beats() && (role_ != nullptr ? !restricted() : may_administer());
}

/// All of its requests are sent, also while the broker drains: the servants wait for each other.
/// @return held until the last one is sent.
Connection::Step Connection::send_broadcast() {
  Broadcast& broadcast = *context_.broadcast;
  while (broadcast.sending()) {
    const std::size_t row = broadcast.parts.size();
    Pending& part = context_.pendings.take();
    part.owner = this;
    part.broadcast = &broadcast;
    part.row = row;
    part.begun_ns = context_.now_ns;
    part.request_bytes = part.sent_bytes = broadcast.payload.size();
    part.terms.deadline = broadcast.deadline;
    part.terms.broadcast = {broadcast.servants.size()};
    part.terms.broadcast_to = broadcast.servants[row] - 1;
    if (!context_.link->try_send(head_of(part, broadcast.flags), broadcast.payload)) {
      context_.pendings.give_back(part);
      hold_ = Hold::ring;
      return Step::held;
    }
    broadcast.parts.push_back(&part);
    context_.counters.requests->add(row != 0 ? 1 : 0);  // the first counts as its message
  }
  context_.counters.pending->set(context_.pendings.used());
  context_.buffers.give_back(broadcast.payload);
  sends_broadcast_ = false;
  return Step::done;
}

/// One servant has answered, or failed. With the last one the caller gets the table.
void Connection::end_part(Pending& part, const Outcome& outcome) {
  Broadcast& broadcast = *part.broadcast;
  if (outcome.result.empty()) {
    broadcast.table.set_error(part.row, outcome.error);
  } else {
    broadcast.table.set_result(part.row, outcome.result);
  }
  broadcast.parts[part.row] = nullptr;
  release_part(part);
  if (!broadcast.table.complete()) {
    return;
  }
  const std::vector<std::byte> result = broadcast.table.encoded();
  Pending* const caller = context_.pendings.find(broadcast.caller);
  context_.broadcast.reset();
  if (caller != nullptr) {
    caller->answer_bytes = result.size();
    answer(*caller, {.result = result, .servant_info = {}, .error = {}});
  }
}

void Connection::release_part(Pending& part) {
  drop_buffer(part);
  context_.pendings.give_back(part);
  context_.counters.pending->set(context_.pendings.used());
}

/// The connection ends: answers that still come are nobody's, and the data plane hears that its
/// origin is gone.
void Connection::drop_broadcast() {
  if (!owns_broadcast()) {
    return;
  }
  for (Pending* const part : context_.broadcast->parts) {
    if (part != nullptr) {
      release_part(*part);
    }
  }
  context_.buffers.give_back(context_.broadcast->payload);
  context_.broadcast.reset();
  context_.broadcast_left = origin_;
}

}  // namespace mserve::broker
