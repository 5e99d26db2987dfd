// SPDX-License-Identifier: Apache-2.0
// Requests that survive their session: copies of repeatable ones, sent once more on the next one.
#include <algorithm>
#include <utility>

#include "lib/core.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve {
namespace {

/// What a copy takes beside its payload, roughly.
constexpr std::uint64_t kCopyBytes = 100;

}  // namespace

/// Keeps a copy of a request that was just sent, if it may be sent again.
void ClientCore::remember(std::uint64_t id, std::span<const std::byte> payload,
                          const SendOptions& options) {
  const std::uint64_t bytes = payload.size() + kCopyBytes;
  if (!options.repeatable || !options_.reconnect ||
      bytes > options_.resend_bytes_max - copy_bytes_) {
    return;
  }
  copies_.emplace(id, Copy{options, {payload.begin(), payload.end()}});
  copy_bytes_ += bytes;
}

/// Whether a request of a lost session waits for the next one. Never twice, and never when its
/// answer had begun to arrive.
bool ClientCore::goes_again(std::uint64_t id) {
  const std::size_t begun = assembler_.unfinished();
  assembler_.drop(id);
  const auto at = copies_.find(id);
  return assembler_.unfinished() == begun && at != copies_.end() && !at->second.sent_again;
}

/// Sends what waits, oldest first, as far as there is room. Nothing else is sent before it.
void ClientCore::send_again() {
  while (!again_.empty()) {
    if (flow_again_) {
      if (!flow_again_->done() && !flow_again_->step(link_->outgoing())) {
        return;
      }
      wake();
      if (!flow_again_->done()) {
        continue;
      }
      const std::uint64_t id = flow_again_->id();
      flow_again_.reset();
      again_.pop_front();
      if (!in_flight_.contains(id)) {
        forget(id);  // cancelled, or answered early, on the way
      }
    } else if (!send_copy_again(again_.front())) {
      return;
    }
  }
}

/// Sends the request at the front of again_, or begins to. @return false when there is no room.
bool ClientCore::send_copy_again(std::uint64_t id) {
  Copy& copy = copies_.find(id)->second;
  const bool too_large = copy.payload.size() > message_bytes_max_;
  if (too_large || check_remote_send(copy.payload, copy.options).code != Errc::ok) {
    // This session does not take what the last one took, and may have run.
    (void)finish(id);
    complete(id, Errc::disconnected);
    return true;
  }
  if (copy.payload.size() > whole_bytes_max(copy.options)) {
    copy.sent_again = true;
    flow_again_.emplace(request_head(id, copy.options), copy.payload, terms_of(copy.options));
    return true;
  }
  if (!send_whole(link_->outgoing(), id, copy.payload, copy.options)) {
    return false;
  }
  copy.sent_again = true;
  again_.pop_front();
  wake();
  return true;
}

/// Drops the copy of a request that is no longer in flight.
void ClientCore::forget(std::uint64_t id) {
  const auto at = copies_.find(id);
  if (at == copies_.end()) {
    return;
  }
  if (flow_again_ && flow_again_->id() == id) {
    if (remote_) {
      return;  // a gateway waits for the rest; send_again() forgets it then
    }
    flow_again_.reset();
    abort_id_ = id;
    pending_ = true;
  }
  if (const auto waiting = std::find(again_.begin(), again_.end(), id); waiting != again_.end()) {
    again_.erase(waiting);
  }
  copy_bytes_ -= at->second.payload.size() + kCopyBytes;
  copies_.erase(at);
}

/// Completes everything that waits for a session.
void ClientCore::give_up_again(Errc status) {
  for (const std::uint64_t id : std::exchange(again_, {})) {
    if (finish(id)) {
      complete(id, status);
    }
  }
}

}  // namespace mserve
