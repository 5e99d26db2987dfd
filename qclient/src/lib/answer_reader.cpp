// SPDX-License-Identifier: Apache-2.0
#include "lib/answer_reader.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/message.hpp"

namespace mserve {
namespace {

/// A fragment waits for so many bytes, or for all that are left: a gateway that dribbles shall not
/// fill the ring with frames of a byte each.
constexpr std::uint64_t kFragmentBytesMin = 4096;

constexpr std::byte kLongAtom{0xf9};
constexpr std::byte kCharVector{0x0a};

shm::FrameHeader reply_head(std::uint64_t id, Errc status) noexcept {
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.id = id;
  head.aux = shm::pack({0, static_cast<std::uint16_t>(status)});
  return head;
}

/// The printable part of a char vector's text, to be shown to people; empty for anything else.
std::string text_for_people(std::span<const std::byte> object) {
  constexpr std::size_t kHeadBytes = 6;
  constexpr std::size_t kTextBytesMax = 200;
  std::string text;
  if (object.size() > kHeadBytes && object[0] == kCharVector) {
    for (const std::byte b :
         object.subspan(kHeadBytes).first(std::min(object.size() - kHeadBytes, kTextBytesMax))) {
      const char c = static_cast<char>(b);
      text += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return text;
}

}  // namespace

AnswerReader::AnswerReader(shm::RingProducer& ring, std::uint64_t message_bytes_max) noexcept
    : ring_(ring), message_bytes_max_(message_bytes_max) {}

std::size_t AnswerReader::window_bytes() const noexcept {
  return kFrontBytes + shm::whole_payload_bytes_max(ring_.capacity());
}

std::size_t AnswerReader::feed(std::span<const std::byte> bytes) {
  blocked_ = false;
  std::size_t taken = 0;
  while (!failed()) {
    const bool from_plain = !plain_.empty();
    const std::span<const std::byte> source =
        from_plain ? std::span<const std::byte>(plain_).subspan(plain_done_) : bytes.subspan(taken);
    if (source.empty()) {
      break;
    }
    const std::size_t now = step(source);
    if (now == 0) {
      break;
    }
    if (!from_plain) {
      taken += now;
    } else if (plain_done_ += now; plain_done_ == plain_.size()) {
      plain_ = {};
    }
  }
  return taken;
}

std::size_t AnswerReader::step(std::span<const std::byte> bytes) {
  switch (state_) {
    case State::between:
      return begin(bytes);
    case State::fragments:
      return take_fragment(bytes);
    case State::gathering:
      return gather(bytes);
    case State::skipping: {
      const std::uint64_t now = std::min<std::uint64_t>(bytes.size(), body_bytes_ - body_done_);
      body_done_ += now;
      state_ = body_done_ == body_bytes_ ? State::between : State::skipping;
      return static_cast<std::size_t>(now);
    }
    case State::failed:
      break;
  }
  return 0;
}

/// Looks at the next message's header.
std::size_t AnswerReader::begin(std::span<const std::byte> bytes) {
  if (bytes.size() < kdb::kHeaderBytes) {
    return 0;
  }
  const auto header = kdb::parse_header(bytes);
  if (!header) {
    return fail("sent bytes that are no kdb+ message");
  }
  if (header->kind != kdb::MessageKind::async) {
    return fail("sent a message that was not asked for");
  }
  if (header->compression == kdb::Compression::none && header->order == kdb::ByteOrder::little) {
    return begin_plain(*header, bytes);
  }
  // Whose answer it is shows only once it is put together, so a too large one cannot be told to
  // its request.
  if (header->message_bytes > message_bytes_max_ + kFrontBytes) {
    return fail("announced a larger message than this client takes");
  }
  message_bytes_ = header->message_bytes;
  state_ = State::gathering;
  return gather(bytes);
}

std::size_t AnswerReader::begin_plain(const kdb::Header& header, std::span<const std::byte> bytes) {
  const std::uint64_t message_bytes = header.message_bytes;
  // One byte more than the front: a result takes at least one.
  if (bytes.size() < std::min<std::uint64_t>(message_bytes, kFrontBytes + 1)) {
    return 0;
  }
  const auto message =
      bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(message_bytes, bytes.size())));
  // A list without attribute of two or three items, the first a long: the id.
  constexpr std::byte kZero{0};
  const bool fits = message.size() > kFrontBytes && message[8] == kZero && message[9] == kZero &&
                    (message[10] == std::byte{2} || message[10] == std::byte{3}) &&
                    message[11] == kZero && message[12] == kZero && message[13] == kZero &&
                    message[14] == kLongAtom;
  if (!fits) {
    return fail_as_no_answer(message);
  }
  std::uint64_t id = 0;
  std::memcpy(&id, message.data() + 15, sizeof(id));
  head_ = reply_head(id, Errc::ok);
  head_.flags = message[10] == std::byte{3} ? shm::kFlagPair : std::uint8_t{0};
  body_bytes_ = message_bytes - kFrontBytes;
  body_done_ = 0;
  if (body_bytes_ > message_bytes_max_) {
    return refuse_large(body_bytes_);
  }
  if (body_bytes_ > shm::whole_payload_bytes_max(ring_.capacity())) {
    finish_head();
    state_ = State::fragments;
    return kFrontBytes;
  }
  return message.size() == message_bytes ? take_whole(message.subspan(kFrontBytes)) : 0;
}

/// Everything that the head of the answer's frames says is known once it is sure to be sent.
void AnswerReader::finish_head() noexcept {
  head_.flags |= wanted_.erase(head_.id) ? shm::kFlagWantInfo : std::uint8_t{0};
}

std::size_t AnswerReader::take_whole(std::span<const std::byte> body) {
  const bool wanted = wanted_.contains(head_.id);
  head_.flags |= wanted ? shm::kFlagWantInfo : std::uint8_t{0};
  if (!shm::try_send_whole(ring_, head_, {}, body)) {
    blocked_ = true;
    return 0;
  }
  (void)wanted_.erase(head_.id);
  return kFrontBytes + body.size();
}

std::size_t AnswerReader::refuse_large(std::uint64_t body_bytes) {
  if (!shm::try_send_whole(ring_, reply_head(head_.id, Errc::too_large), {}, {})) {
    blocked_ = true;
    return 0;
  }
  (void)wanted_.erase(head_.id);
  if (body_bytes - message_bytes_max_ > message_bytes_max_) {
    return fail("announced a far larger message than this client takes");
  }
  state_ = State::skipping;
  return kFrontBytes;
}

std::size_t AnswerReader::take_fragment(std::span<const std::byte> bytes) {
  const std::uint64_t left = body_bytes_ - body_done_;
  const std::uint64_t most = std::min(left, shm::fragment_payload_bytes(ring_.capacity()));
  if (bytes.size() < std::min(most, kFragmentBytesMin)) {
    return 0;
  }
  const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(most, bytes.size()));
  std::byte extension[shm::ext_bytes_of(sizeof(shm::FlowExt))];
  (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{body_done_, body_bytes_});
  if (!shm::try_send_whole(ring_, head_, extension, bytes.first(now))) {
    blocked_ = true;
    return 0;
  }
  body_done_ += now;
  state_ = body_done_ == body_bytes_ ? State::between : State::fragments;
  return now;
}

std::size_t AnswerReader::gather(std::span<const std::byte> bytes) {
  const auto now = static_cast<std::size_t>(
      std::min<std::uint64_t>(bytes.size(), message_bytes_ - gathered_.size()));
  gathered_.insert(gathered_.end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(now));
  if (gathered_.size() == message_bytes_) {
    finish_gathering();
  }
  return failed() ? 0 : now;
}

/// Makes plain_ of the gathered message: not compressed, little endian.
void AnswerReader::finish_gathering() {
  std::vector<std::byte> message = std::exchange(gathered_, {});
  state_ = State::between;
  kdb::Header header = *kdb::parse_header(message);  // begin() has seen it
  if (header.compression != kdb::Compression::none) {
    auto plain = kdb::decompress(message, message_bytes_max_ + kFrontBytes);
    if (!plain) {
      fail("sent a compressed message that is broken or too large");
      return;
    }
    message = *std::move(plain);
  }
  if (header.order == kdb::ByteOrder::big) {
    const auto swapped =
        kdb::swap_byte_order(std::span(message).subspan(kdb::kHeaderBytes), kdb::ByteOrder::big);
    if (!swapped) {
      fail("sent bytes that are no kdb+ object");
      return;
    }
  }
  header.order = kdb::ByteOrder::little;
  header.compression = kdb::Compression::none;
  header.message_bytes = message.size();
  const auto head = kdb::write_header(header);
  std::copy(head.begin(), head.end(), message.begin());
  plain_ = std::move(message);
  plain_done_ = 0;
}

std::size_t AnswerReader::fail(std::string reason) {
  state_ = State::failed;
  reason_ = std::move(reason);
  return 0;
}

std::size_t AnswerReader::fail_as_no_answer(std::span<const std::byte> message) {
  const std::string text = text_for_people(message.subspan(kdb::kHeaderBytes));
  return fail("sent something that is no answer `(id; result; info)`" +
              (text.empty() ? std::string() : ": \"" + text + '"'));
}

}  // namespace mserve
