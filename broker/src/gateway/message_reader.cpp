// SPDX-License-Identifier: Apache-2.0
#include "gateway/message_reader.hpp"

#include <algorithm>
#include <utility>

#include "gateway/conventions.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kMalformed = "badmsg";
constexpr std::string_view kBadHeader = "bad header";
constexpr std::string_view kLimit = "limit";

/// Smaller messages are not worth pieces, and a flush must come whole.
constexpr std::uint64_t kGatherBytesMin = 64;
constexpr std::size_t kKeptBytesMin = 512;

}  // namespace

MessageReader::MessageReader(const ReaderLimits& limits) noexcept : limits_(limits) {
  limits_.gather_bytes_max = std::max(limits_.gather_bytes_max, kGatherBytesMin);
  limits_.held_bytes_max = std::max(limits_.held_bytes_max, limits_.gather_bytes_max);
}

void MessageReader::feed(std::span<const std::byte> received) noexcept {
  received_ = received;
}

MessageReader::Event MessageReader::next(std::size_t piece_bytes_max) {
  if (given_) {
    release();
  }
  switch (state_) {
    case State::header:
      return read_header();
    case State::gather:
      return read_whole();
    case State::opening:
      return read_beginning();
    case State::begun:
      validator_ = std::make_unique<kdb::StreamValidator>(body_bytes_);
      state_ = State::stream;
      return read_stream(piece_bytes_max);
    case State::stream:
      return read_stream(piece_bytes_max);
    default:
      return failure();
  }
}

void MessageReader::hold() noexcept {
  if (state_ != State::begun) {
    return;
  }
  if (body_bytes_ > limits_.held_bytes_max) {
    fail(kdb::Errc::too_large, kLimit);
    return;
  }
  state_ = State::gather;
}

std::size_t MessageReader::held_bytes() const noexcept {
  return kept_.capacity() + (validator_ ? sizeof(*validator_) : 0);
}

bool MessageReader::mid_message() const noexcept {
  return header_bytes_ != 0 && state_ != State::failed;
}

bool MessageReader::as_it_is() const noexcept {
  return header_.compression == kdb::Compression::none && header_.order == kdb::ByteOrder::little;
}

MessageReader::Event MessageReader::read_header() {
  const std::size_t missing = kdb::kHeaderBytes - header_bytes_;
  const auto part = take(std::min(missing, received_.size()));
  std::copy(part.begin(), part.end(), raw_header_.begin() + header_bytes_);
  header_bytes_ = static_cast<std::uint8_t>(header_bytes_ + part.size());
  if (header_bytes_ < kdb::kHeaderBytes) {
    return {};
  }
  const auto header = kdb::parse_header(raw_header_);
  has_header_ = header.ok();
  if (!header) {
    return fail(header.error().code, kBadHeader);
  }
  header_ = *header;
  body_bytes_ = header_.message_bytes - kdb::kHeaderBytes;
  if (header_.message_bytes > limits_.message_bytes_max) {
    return fail(kdb::Errc::too_large, kLimit);
  }
  return after_header();
}

MessageReader::Event MessageReader::after_header() {
  if (as_it_is() && body_bytes_ > limits_.gather_bytes_max) {
    state_ = State::opening;
    return read_beginning();
  }
  if (body_bytes_ > limits_.held_bytes_max) {
    return fail(kdb::Errc::too_large, kLimit);
  }
  state_ = State::gather;
  return read_whole();
}

/// Gives out what lies whole in the received bytes, or keeps them until the message is whole.
/// Compressed ones are kept with their header, as decompression wants them.
MessageReader::Event MessageReader::read_whole() {
  if (as_it_is() && kept_.empty() && body_bytes_ <= received_.size()) {
    return give_whole(take(static_cast<std::size_t>(body_bytes_)));
  }
  const bool compressed = header_.compression != kdb::Compression::none;
  if (compressed && kept_.empty()) {
    kept_.assign(raw_header_.begin(), raw_header_.end());
  }
  if (!gather(compressed ? header_.message_bytes : body_bytes_)) {
    return {};
  }
  if (compressed) {
    auto message = kdb::decompress(kept_, limits_.held_bytes_max + kdb::kHeaderBytes);
    if (!message) {
      return refuse(message.error().code);
    }
    kept_ = *std::move(message);
    kept_used_ = kdb::kHeaderBytes;
  }
  given_ = true;
  const std::span<std::byte> body = std::span(kept_).subspan(kept_used_);
  if (header_.order == kdb::ByteOrder::little) {
    return give_whole(body);
  }
  const auto type = kdb::swap_byte_order(body, kdb::ByteOrder::big);  // validates as well
  return type ? give_valid(body) : refuse(type.error().code);
}

MessageReader::Event MessageReader::give_whole(std::span<const std::byte> body) {
  const auto type = kdb::validate(body);
  return type ? give_valid(body) : refuse(type.error().code);
}

MessageReader::Event MessageReader::give_valid(std::span<const std::byte> body) noexcept {
  state_ = State::header;
  header_bytes_ = 0;
  body_bytes_ = body.size();
  return event(What::whole, body);
}

MessageReader::Event MessageReader::read_beginning() {
  const std::uint64_t wanted = std::min<std::uint64_t>(body_bytes_, kStreamHeadBytes);
  std::span<const std::byte> beginning;
  if (kept_.empty() && received_.size() >= wanted) {
    beginning = received_.first(static_cast<std::size_t>(wanted));  // stays there for the pieces
  } else if (gather(wanted)) {
    beginning = kept_;
  } else {
    return {};
  }
  state_ = State::begun;
  return event(What::begin, beginning);
}

MessageReader::Event MessageReader::read_stream(std::size_t piece_bytes_max) {
  std::span<const std::byte> source = std::span<const std::byte>(kept_).subspan(kept_used_);
  const bool kept = !source.empty();
  if (!kept) {
    release();
    source = received_.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(received_.size(), validator_->left())));
  }
  if (source.empty()) {
    return {};
  }
  const auto piece = source.first(std::clamp<std::size_t>(piece_bytes_max, 1, source.size()));
  const kdb::Errc code = validator_->feed(piece);
  if (code != kdb::Errc::ok) {
    return refuse(code);
  }
  if (kept) {
    kept_used_ += piece.size();
  } else {
    static_cast<void>(take(piece.size()));
  }
  Event given = event(What::piece, piece);
  given.item_type = validator_->item_type();
  given.last = validator_->left() == 0;
  if (given.last) {
    validator_.reset();
    state_ = State::header;
    header_bytes_ = 0;
    given_ = kept;
  }
  return given;
}

MessageReader::Event MessageReader::refuse(kdb::Errc code) noexcept {
  return fail(code, code == kdb::Errc::too_large ? kLimit : kMalformed);
}

MessageReader::Event MessageReader::fail(kdb::Errc code, std::string_view reason) noexcept {
  state_ = State::failed;
  error_ = code;
  reason_ = reason;
  received_ = {};
  validator_.reset();
  release();
  return failure();
}

MessageReader::Event MessageReader::failure() const noexcept {
  Event failed = event(What::failed, {});
  failed.code = error_;
  failed.reason = reason_;
  return failed;
}

MessageReader::Event MessageReader::event(What what,
                                          std::span<const std::byte> bytes) const noexcept {
  Event made;
  made.what = what;
  made.header = header_;
  made.has_header = has_header_;
  made.body_bytes = body_bytes_;
  made.bytes = bytes;
  return made;
}

/// Moves received bytes to kept_ until it has `bytes_wanted`. True: it has. The buffer doubles, so
/// that a length that is only claimed takes no memory.
bool MessageReader::gather(std::uint64_t bytes_wanted) {
  const auto wanted = static_cast<std::size_t>(bytes_wanted);
  const auto part = take(std::min(wanted - kept_.size(), received_.size()));
  const std::size_t size = kept_.size() + part.size();
  if (size > kept_.capacity()) {
    kept_.reserve(std::min(wanted, std::max({size, 2 * kept_.capacity(), kKeptBytesMin})));
  }
  kept_.insert(kept_.end(), part.begin(), part.end());
  return kept_.size() == wanted;
}

std::span<const std::byte> MessageReader::take(std::size_t bytes) noexcept {
  const auto taken = received_.first(bytes);
  received_ = received_.subspan(bytes);
  return taken;
}

void MessageReader::release() noexcept {
  std::vector<std::byte>().swap(kept_);
  kept_used_ = 0;
  given_ = false;
}

}  // namespace mserve::broker
