// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/message.hpp"

#include <algorithm>

namespace mserve::shm {

bool FlowWriter::step(RingProducer& ring) noexcept {
  if (done()) {
    return false;
  }
  const std::uint64_t left = payload_.size() - offset_;
  const std::uint64_t now = std::min(left, fragment_payload_bytes(ring.capacity()));
  std::byte extensions[ext_bytes_of(sizeof(FlowExt)) + RequestTerms::kBytesMax];
  std::byte* end = put_extension(extensions, ExtType::flow, 0, FlowExt{offset_, payload_.size()});
  if (offset_ == 0) {
    end = terms_.put(end);
  }
  if (!try_send_whole(ring, header_, {extensions, end}, payload_.subspan(offset_, now))) {
    return false;
  }
  offset_ += now;
  return true;
}

Errc Assembler::add(std::uint64_t id, const FlowExt& flow, std::span<const std::byte> payload,
                    std::vector<std::byte>& message) {
  auto [it, fresh] = parts_.try_emplace(id);
  Part& part = it->second;
  if (fresh) {
    part.total_bytes = flow.total_bytes;
  }
  const bool in_order = flow.offset == part.bytes.size() && flow.total_bytes == part.total_bytes &&
                        !payload.empty() && payload.size() <= part.total_bytes - flow.offset;
  if (!in_order) {
    drop(id);
    return Errc::bad_frame;
  }
  if (flow.total_bytes > bytes_max_ || payload.size() > bytes_max_ - held_bytes_) {
    drop(id);
    return Errc::too_large;
  }
  const std::uint64_t needed = part.bytes.size() + payload.size();
  if (needed > part.bytes.capacity()) {
    // In few, large steps: a message of hundreds of megabytes is not copied again and again while
    // its sender waits, and a promise reserves at most so many times what arrived (untouched, so
    // unused).
    constexpr std::uint64_t kStep = 16;
    part.bytes.reserve(static_cast<std::size_t>(std::min(part.total_bytes, needed * kStep)));
  }
  part.bytes.insert(part.bytes.end(), payload.begin(), payload.end());
  held_bytes_ += payload.size();
  if (part.bytes.size() < part.total_bytes) {
    return Errc::empty;
  }
  message = std::move(part.bytes);
  held_bytes_ -= message.size();
  parts_.erase(it);
  return Errc::ok;
}

void Assembler::drop(std::uint64_t id) noexcept {
  const auto it = parts_.find(id);
  if (it != parts_.end()) {
    held_bytes_ -= it->second.bytes.size();
    parts_.erase(it);
  }
}

void Assembler::clear() noexcept {
  parts_.clear();
  held_bytes_ = 0;
}

}  // namespace mserve::shm
