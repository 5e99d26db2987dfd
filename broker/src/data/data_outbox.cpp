// SPDX-License-Identifier: Apache-2.0
// Answers on their last hop: straight into the client's ring, or kept until it has room, so that a
// slow client holds nobody's servant.
#include <algorithm>
#include <bit>
#include <cstring>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

constexpr std::size_t kExtBytesMax =
    shm::ext_bytes_of(sizeof(shm::FlowExt)) + shm::ext_bytes_of(sizeof(shm::InfoExt));

/// What a kept answer counts: the block it takes; one without payload takes a node all the same.
constexpr std::uint64_t kept_cost(std::uint64_t bytes) noexcept {
  return std::max(std::bit_ceil(bytes), std::uint64_t{1024});
}

}  // namespace

void DataPlane::send_or_keep(OriginState& origin, const shm::FrameHeader& head,
                             const shm::InfoExt* info, std::span<const std::byte> payload) {
  std::byte extension[kExtBytesMax];
  const std::byte* end = extension;
  if (info != nullptr) {
    end = shm::put_extension(extension, shm::ExtType::info, 0, *info);
  }
  const std::span<const std::byte> extensions(extension, static_cast<std::size_t>(end - extension));
  if (!send_now(origin, head, extensions, payload)) [[unlikely]] {
    keep_or_split(origin, head, info, payload);
  }
}

// What has no room now or is too large for one frame.
[[gnu::cold]] void DataPlane::keep_or_split(OriginState& origin, const shm::FrameHeader& head,
                                            const shm::InfoExt* info,
                                            std::span<const std::byte> payload) {
  if (!origin.open) {
    return;  // nobody waits any more
  }
  Session& client = *origin.session;
  if (client.out.poisoned()) {
    close(client, Errc::cursor_out_of_range, "reply ring");
    return;
  }
  const std::uint64_t ext_bytes = info != nullptr ? shm::ext_bytes_of(sizeof(*info)) : 0;
  Outbound draft;
  draft.head = head;
  draft.total = payload.size();
  draft.as_flow = payload.size() > shm::whole_payload_bytes_max(client.out.capacity(), ext_bytes);
  if (info != nullptr) {
    draft.has_info = true;
    draft.info = *info;
  }
  // A large one goes as far as the ring and the window let it; only the rest is copied.
  while (draft.as_flow && origin.outbox_first == kNone && draft.offset < draft.total) {
    std::uint64_t sent = 0;
    if (!send_piece(origin, head, info, draft.offset, draft.total, payload.subspan(draft.offset),
                    sent)) {
      break;
    }
    draft.offset += sent;
  }
  if (!draft.as_flow || draft.offset < draft.total) {
    draft.stored_from = draft.offset;
    keep(origin, draft, payload.subspan(draft.offset));
  }
}

bool DataPlane::send_piece(OriginState& origin, const shm::FrameHeader& head,
                           const shm::InfoExt* info, std::uint64_t offset, std::uint64_t total,
                           std::span<const std::byte> rest, std::uint64_t& sent) {
  Session& client = *origin.session;
  sent = std::min({static_cast<std::uint64_t>(rest.size()), origin.window_left,
                   shm::fragment_payload_bytes(client.out.capacity())});
  if (sent == 0) {
    return false;
  }
  std::byte extension[kExtBytesMax];
  std::byte* end =
      shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{offset, total});
  // On the last fragment, and on the first for who must know the size of everything early.
  if (info != nullptr && (offset == 0 || offset + sent == total)) {
    end = shm::put_extension(end, shm::ExtType::info, 0, *info);
  }
  if (!shm::try_send_whole(client.out, head, {extension, static_cast<std::size_t>(end - extension)},
                           rest.first(sent))) {
    return false;
  }
  origin.window_left -= sent;
  counters_.fragments_out->add();
  heat(client);  // its window frames are looked for while it is hot
  note_wake(client);
  return true;
}

void DataPlane::keep(OriginState& origin, const Outbound& draft, std::span<const std::byte> rest) {
  const std::uint64_t cost = kept_cost(rest.size());
  if (origin.outbox_bytes + cost > options_.max_pending_bytes) {
    close_origin(origin, Errc::slow_reader, "too many unread answers");
    return;
  }
  std::uint32_t index = take_outbound(rest.size(), cost);
  while (index == kNone) {
    // Who took the most room makes room, not whoever comes next.
    OriginState& largest = largest_keeper(origin);
    close_origin(largest, Errc::slow_reader,
                 "its unread answers took the most of the room for all");
    if (&largest == &origin) {
      return;
    }
    index = take_outbound(rest.size(), cost);
  }
  Outbound& kept = outbounds_[index];
  const PayloadStore::Block block = kept.block;
  kept = draft;
  kept.next = kNone;
  kept.block = block;
  std::copy(rest.begin(), rest.end(), store_.bytes_of(kept.block).begin());
  if (origin.outbox_first == kNone) {
    origin.outbox_first = index;
    outbox_list_.push_back(&origin);
  } else {
    outbounds_[origin.outbox_last].next = index;
  }
  origin.outbox_last = index;
  origin.outbox_bytes += cost;
  kept_bytes_ += cost;
  counters_.kept->add();
  monitor_.kept(origin.session->number);
  heat(*origin.session);
}

/// A node with a block of `bytes`; kNone when the share of kept answers is used up.
std::uint32_t DataPlane::take_outbound(std::uint64_t bytes, std::uint64_t cost) noexcept {
  const std::uint32_t index =
      kept_bytes_ + cost <= kept_bytes_max(options_) ? outbounds_.take() : kNone;
  if (index == kNone) {
    return kNone;
  }
  outbounds_[index].block = store_.take(bytes);
  if (outbounds_[index].block.empty()) {
    outbounds_.give_back(index);
    return kNone;
  }
  return index;
}

/// Whose kept answers take the most room; `candidate` if nobody's take more than its own.
OriginState& DataPlane::largest_keeper(OriginState& candidate) noexcept {
  OriginState* largest = &candidate;
  for (OriginState* const origin : outbox_list_) {
    if (origin->outbox_bytes > largest->outbox_bytes) {
      largest = origin;
    }
  }
  return *largest;
}

bool DataPlane::flush_outbox(OriginState& origin) {
  Session& client = *origin.session;
  bool worked = false;
  while (origin.outbox_first != kNone) {
    const std::uint32_t index = origin.outbox_first;
    Outbound& kept = outbounds_[index];
    const std::span<const std::byte> bytes = store_.bytes_of(kept.block);
    const shm::InfoExt* const info = kept.has_info ? &kept.info : nullptr;
    if (kept.as_flow) {
      std::uint64_t sent = 0;
      if (!send_piece(origin, kept.head, info, kept.offset, kept.total,
                      bytes.subspan(kept.offset - kept.stored_from), sent)) {
        break;
      }
      worked = true;
      kept.offset += sent;
      if (kept.offset < kept.total) {
        continue;
      }
    } else {
      std::byte extension[kExtBytesMax];
      const std::byte* end =
          info != nullptr ? shm::put_extension(extension, shm::ExtType::info, 0, *info) : extension;
      if (!shm::try_send_whole(client.out, kept.head,
                               {extension, static_cast<std::size_t>(end - extension)}, bytes)) {
        break;
      }
      worked = true;
      note_wake(client);
    }
    origin.outbox_bytes -= kept_cost(bytes.size());
    kept_bytes_ -= kept_cost(bytes.size());
    origin.outbox_first = kept.next;
    store_.give_back(kept.block);
    outbounds_.give_back(index);
  }
  if (client.out.poisoned()) {
    close(client, Errc::cursor_out_of_range, "reply ring");
    return true;
  }
  if (origin.outbox_first == kNone) {
    origin.outbox_last = kNone;
    std::erase(outbox_list_, &origin);
  }
  return worked;
}

void DataPlane::clear_outbox(OriginState& origin) noexcept {
  while (origin.outbox_first != kNone) {
    const std::uint32_t index = origin.outbox_first;
    origin.outbox_first = outbounds_[index].next;
    store_.give_back(outbounds_[index].block);
    outbounds_.give_back(index);
  }
  origin.outbox_last = kNone;
  kept_bytes_ -= origin.outbox_bytes;
  origin.outbox_bytes = 0;
}

}  // namespace mserve::broker
