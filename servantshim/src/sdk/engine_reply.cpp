// SPDX-License-Identifier: Apache-2.0
// The second half of Engine: running a request and sending its reply.
#include <algorithm>
#include <utility>

#include "engine.hpp"
#include "guard.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve::servant {

std::size_t Engine::take_ready() noexcept {
  const std::size_t index = ready_[ready_first_];
  ready_first_ = (ready_first_ + 1) % ready_.size();
  --ready_count_;
  return index;
}

void Engine::start_next() {
  const std::size_t index = take_ready();
  Slot& slot = slots_[index];
  bool opaque_reply = false;
  kdb::Value result = run(slot, opaque_reply);
  replying_ = index;
  prepare_reply(slot, std::move(result), opaque_reply);
}

/// The query of a request; the options that may stand behind it are nothing that a function sees.
std::span<const std::byte> Engine::query_of(const Slot& slot) noexcept {
  const std::span<const std::byte> payload(slot.payload);
  if ((slot.flags & shm::kFlagPair) == 0) {
    return payload;
  }
  const kdb::Result<std::size_t> query_bytes = kdb::skip(payload);
  return query_bytes ? payload.first(*query_bytes) : payload;
}

kdb::Value Engine::run(Slot& slot, bool& opaque_reply) {
  if (!slot.refusal.empty()) {
    return kdb::Value::error(slot.refusal);
  }
  if ((slot.flags & shm::kFlagOpaque) == 0) {
    kdb::Value result;
    const std::string failure = guarded([&] { result = invoke(functions_, query_of(slot)); });
    if (!failure.empty()) {
      return kdb::Value::error(failure);
    }
    return result;
  }
  if (!opaque_) {
    return kdb::Value::error("opaque requests are not served");
  }
  const std::string failure = guarded([&] { opaque_(slot.payload); });
  if (!failure.empty()) {
    return kdb::Value::error(failure);
  }
  if (slot.payload.size() > bounds_.message_bytes_max) {
    return kdb::Value::error("limit");
  }
  opaque_reply = true;
  return {};
}

void Engine::prepare_reply(Slot& slot, kdb::Value result, bool opaque_reply) {
  reply_encoded_ = opaque_reply;
  if (opaque_reply) {
    std::swap(reply_bytes_, slot.payload);  // both buffers stay in use
    reply_view_ = reply_bytes_;
    reply_size_ = reply_bytes_.size();
  } else {
    reply_value_ = std::move(result);
    reply_size_ = kdb::encoded_size(reply_value_);
    if (reply_size_ > bounds_.message_bytes_max) {
      reply_value_ = kdb::Value::error("limit");
      reply_size_ = kdb::encoded_size(reply_value_);
    }
  }
  start_reply(slot, !opaque_reply && reply_value_.is_error() ? Errc::failed : Errc::ok,
              opaque_reply);
}

void Engine::start_reply(const Slot& slot, Errc status, bool opaque_reply) noexcept {
  reply_header_ = {};
  reply_header_.kind = shm::Kind::reply;
  reply_header_.flags = opaque_reply ? shm::kFlagOpaque : std::uint8_t{0};
  reply_header_.id = slot.id;
  reply_header_.aux = shm::pack({bounds_.servant, static_cast<std::uint16_t>(status)});
}

std::optional<Engine::Held> Engine::hold() {
  if (replying_ != kNone || ready_count_ == 0) {
    return std::nullopt;
  }
  const std::size_t index = take_ready();
  Slot& slot = slots_[index];
  if (!slot.refusal.empty()) {
    replying_ = index;
    prepare_reply(slot, kdb::Value::error(slot.refusal), false);
    return std::nullopt;
  }
  slot.state = State::held;
  return Held{index, slot.flags, std::move(slot.payload)};
}

void Engine::answer(std::size_t slot, std::span<const std::byte> payload, bool opaque, Errc status,
                    std::vector<std::byte> spare) {
  replying_ = slot;
  reply_encoded_ = true;
  reply_view_ = payload;
  reply_size_ = payload.size();
  start_reply(slots_[slot], status, opaque);
  slots_[slot].payload = std::move(spare);
}

Progress Engine::send(shm::RingProducer& out) {
  if (reply_size_ > shm::whole_payload_bytes_max(out.capacity())) {
    if (!reply_flow_) {
      if (!reply_encoded_) {
        const std::string failure = guarded([&] { reply_bytes_ = kdb::encode(reply_value_); });
        if (!failure.empty()) {
          prepare_reply(slots_[replying_], kdb::Value::error(failure), false);
          return Progress::worked;
        }
        reply_encoded_ = true;
        reply_view_ = reply_bytes_;
        reply_value_ = kdb::Value();
      }
      reply_flow_.emplace(reply_header_, reply_view_);
    }
    if (!reply_flow_->step(out)) {
      return out.poisoned() ? broken(Errc::cursor_out_of_range) : Progress::blocked;
    }
    if (!reply_flow_->done()) {
      return Progress::worked;
    }
    reply_flow_.reset();
  } else if (reply_encoded_ ? !shm::try_send_whole(out, reply_header_, {}, reply_view_)
                            : !send_value(out)) {
    return out.poisoned() ? broken(Errc::cursor_out_of_range) : Progress::blocked;
  }
  reply_value_ = kdb::Value();
  reply_view_ = {};
  if (reply_bytes_.capacity() > kKeptBytes) {
    reply_bytes_ = {};
  }
  free_slot(replying_);
  replying_ = kNone;
  return Progress::worked;
}

bool Engine::send_value(shm::RingProducer& out) {
  shm::FrameHeader header = reply_header_;
  header.frame_bytes = static_cast<std::uint32_t>(shm::kFrameHeaderBytes + reply_size_);
  std::byte* const frame = out.try_claim(header.frame_bytes);
  if (frame == nullptr) {
    return false;
  }
  // Cannot fail: the size was asked of the same value.
  (void)kdb::encode_to(reply_value_, {frame + shm::kFrameHeaderBytes, reply_size_});
  out.commit(header);
  return true;
}

}  // namespace mserve::servant
