// SPDX-License-Identifier: Apache-2.0
#include "lib/request_writer.hpp"

#include <algorithm>
#include <cstring>

#include "mserve/kdb/message.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve {
namespace {

std::span<const std::byte> once_options() noexcept {
  static constexpr char kBytes[] =
      "\x63"                          // dictionary
      "\x0b\0\x01\0\0\0repeatable\0"  // its keys: one symbol
      "\x01\0\x01\0\0\0";             // its values: one boolean, and the NUL of this literal: 0b
  static_assert(sizeof(kBytes) == RequestWriter::kBackBytes);
  return std::as_bytes(std::span(kBytes));
}

}  // namespace

bool RequestWriter::next() noexcept {
  shm::FrameView frame;
  if (loaded_ || ring_.front(frame) != Errc::ok) {
    return loaded_;
  }
  shm::Extensions ext;
  (void)shm::parse_extensions(frame.extensions, ext);  // written by this process
  if (!ext.has_flow || ext.flow.offset == 0) {
    put_front(frame.header, ext.has_flow ? ext.flow.total_bytes : frame.payload.size());
  }
  payload_ = frame.payload;
  const bool last = !ext.has_flow || ext.flow.offset + frame.payload.size() == ext.flow.total_bytes;
  back_ = once_ && last ? once_options() : std::span<const std::byte>();
  loaded_ = true;
  return true;
}

void RequestWriter::put_front(const shm::FrameHeader& header,
                              std::uint64_t payload_bytes) noexcept {
  kdb::Header message;
  message.kind = kdb::MessageKind::async;
  const bool pair = (header.flags & shm::kFlagPair) != 0;
  once_ = !pair && (header.flags & shm::kFlagRepeatable) == 0;
  const bool options = pair || once_;
  message.message_bytes = kFrontBytes + payload_bytes + (once_ ? kBackBytes : 0);
  const auto head = kdb::write_header(message);
  std::byte* to = std::copy(head.begin(), head.end(), front_.data());
  // A general list of two or three items, the first a long: the id.
  const std::array<std::byte, 7> list = {
      std::byte{0},   std::byte{0}, options ? std::byte{3} : std::byte{2},
      std::byte{0},   std::byte{0}, std::byte{0},
      std::byte{0xf9}};
  to = std::copy(list.begin(), list.end(), to);
  std::memcpy(to, &header.id, sizeof(header.id));
  front_bytes_ = kFrontBytes;
  front_sent_ = 0;
  info_wish_ = (header.flags & shm::kFlagWantInfo) != 0 ? header.id : 0;
}

void RequestWriter::sent(std::size_t bytes) noexcept {
  const std::size_t of_front = std::min(bytes, front_bytes_ - front_sent_);
  front_sent_ += of_front;
  const std::size_t of_payload = std::min(bytes - of_front, payload_.size());
  payload_ = payload_.subspan(of_payload);
  back_ = back_.subspan(bytes - of_front - of_payload);
  if (front_sent_ == front_bytes_ && payload_.empty() && back_.empty() && loaded_) {
    front_bytes_ = front_sent_ = 0;
    loaded_ = false;
    ring_.release();
  }
}

}  // namespace mserve
