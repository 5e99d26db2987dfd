// SPDX-License-Identifier: Apache-2.0
#include "lib/request_writer.hpp"

#include <algorithm>
#include <cstring>

#include "mserve/kdb/message.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve {

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
  loaded_ = true;
  return true;
}

void RequestWriter::put_front(const shm::FrameHeader& header,
                              std::uint64_t payload_bytes) noexcept {
  kdb::Header message;
  message.kind = kdb::MessageKind::async;
  message.message_bytes = kFrontBytes + payload_bytes;
  const auto head = kdb::write_header(message);
  std::byte* to = std::copy(head.begin(), head.end(), front_.data());
  const bool options = (header.flags & shm::kFlagPair) != 0;
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
  payload_ = payload_.subspan(bytes - of_front);
  if (front_sent_ == front_bytes_ && payload_.empty() && loaded_) {
    front_bytes_ = front_sent_ = 0;
    loaded_ = false;
    ring_.release();
  }
}

}  // namespace mserve
