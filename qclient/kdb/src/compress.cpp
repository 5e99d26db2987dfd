// SPDX-License-Identifier: Apache-2.0
// q's message compression: groups of one flag byte and up to 8 tokens; a token is a literal byte or
// a match (slot, length) against a table of 256 positions, keyed by the XOR of two neighbouring
// bytes. All positions are indices into the plain message.
#include "mserve/kdb/compress.hpp"

#include <algorithm>
#include <array>

#include "mserve/kdb/message.hpp"
#include "walk.hpp"

namespace mserve::kdb {

namespace {

constexpr std::size_t kTailMax = 255;  // bytes of a match beyond its first two
/// 17 bytes (a flag byte and 8 matches) make at most 8 * 257 bytes: no stream can be longer than
/// this times its length.
constexpr std::uint64_t kExpansionMax = 8 * (2 + kTailMax) / 17 + 1;

std::size_t slot_of(std::byte a, std::byte b) noexcept {
  return std::to_integer<std::size_t>(a ^ b);
}

/// Where the stream starts and how long the plain message is.
struct Container {
  std::size_t stream_offset = 0;
  std::uint64_t plain_bytes = 0;
};

Result<Container> open_container(std::span<const std::byte> message, const Header& header,
                                 std::uint64_t plain_bytes_max) noexcept {
  const std::size_t width = header.compression == Compression::compressed_64 ? 8 : 4;
  if (message.size() < kHeaderBytes + width) {
    return Error{Errc::truncated, message.size()};
  }
  const Container container{kHeaderBytes + width,
                            detail::load(message.data() + kHeaderBytes, width, header.order)};
  if (container.plain_bytes > std::min(plain_bytes_max, kMessageBytesMax)) {
    return Error{Errc::too_large, kHeaderBytes};
  }
  if (container.plain_bytes <= kHeaderBytes ||
      container.plain_bytes >
          kHeaderBytes + (message.size() - container.stream_offset) * kExpansionMax) {
    return Error{Errc::bad_compression, kHeaderBytes};
  }
  return container;
}

class Decompressor {
 public:
  Decompressor(std::span<const std::byte> message, std::size_t stream_offset,
               std::span<std::byte> plain) noexcept
      : in_(message), out_(plain), read_(stream_offset) {}

  /// Fills the plain message from its byte 8 on. False: damaged at offset().
  bool run() noexcept {
    while (write_ < out_.size()) {
      if (read_ >= in_.size()) {
        return false;
      }
      const auto flags = std::to_integer<unsigned>(in_[read_++]);
      for (unsigned bit = 0; bit < 8 && write_ < out_.size(); ++bit) {
        if (!((flags >> bit & 1U) != 0 ? match() : literal())) {
          return false;
        }
      }
    }
    return read_ == in_.size();
  }

  [[nodiscard]] std::size_t offset() const noexcept { return read_; }

 private:
  bool literal() noexcept {
    if (read_ >= in_.size()) {
      return false;
    }
    out_[write_++] = in_[read_++];
    enter();
    return true;
  }

  bool match() noexcept {
    if (in_.size() - read_ < 2) {
      return false;
    }
    std::size_t from = slots_[std::to_integer<std::size_t>(in_[read_])];
    const auto tail = std::to_integer<std::size_t>(in_[read_ + 1]);
    // Slot 0 means empty; entered positions have a successor, so from + 1 is written already.
    if (from == 0 || 2 + tail > out_.size() - write_) {
      return false;
    }
    read_ += 2;
    out_[write_++] = out_[from++];
    out_[write_++] = out_[from++];
    enter();
    for (std::size_t i = 0; i < tail; ++i) {  // byte by byte: the ranges may overlap
      out_[write_++] = out_[from++];
    }
    hashed_ = write_;
    return true;
  }

  /// Enters every position that has a successor by now.
  void enter() noexcept {
    for (; hashed_ + 1 < write_; ++hashed_) {
      slots_[slot_of(out_[hashed_], out_[hashed_ + 1])] = hashed_;
    }
  }

  std::span<const std::byte> in_;
  std::span<std::byte> out_;
  std::size_t read_;
  std::size_t write_ = kHeaderBytes;
  std::size_t hashed_ = kHeaderBytes;
  std::array<std::size_t, 256> slots_{};
};

class Compressor {
 public:
  explicit Compressor(std::span<const std::byte> plain) noexcept
      : in_(plain), limit_(plain.size() / 2) {}

  /// Appends the stream to `out`, which holds the container's head already. False: not worth it.
  bool run(std::vector<std::byte>& out) {
    while (read_ < in_.size()) {
      if (out.size() + 17 > limit_) {
        return false;
      }
      const std::size_t flag_at = out.size();
      unsigned flags = 0;
      out.push_back(std::byte{0});
      for (unsigned bit = 0; bit < 8 && read_ < in_.size(); ++bit) {
        flags |= token(out) ? 1U << bit : 0U;
      }
      out[flag_at] = static_cast<std::byte>(flags);
    }
    return true;
  }

 private:
  /// One literal (false) or match (true). A position is entered only after the next look-up, as q
  /// does it.
  bool token(std::vector<std::byte>& out) {
    const bool can_look = read_ + 3 <= in_.size();
    const std::size_t slot = can_look ? slot_of(in_[read_], in_[read_ + 1]) : 0;
    std::size_t candidate = can_look ? slots_[slot] : 0;
    const bool hit = candidate != 0 && in_[candidate] == in_[read_];
    if (pending_) {
      slots_[pending_slot_] = pending_position_;
      pending_ = false;
    }
    if (!hit) {
      if (can_look) {
        pending_ = true;
        pending_slot_ = slot;
        pending_position_ = read_;
      }
      out.push_back(in_[read_++]);
      return false;
    }
    slots_[slot] = read_;
    candidate += 2;
    read_ += 2;
    const std::size_t end = std::min(read_ + kTailMax, in_.size());
    std::size_t tail = 0;
    for (; read_ < end && in_[candidate] == in_[read_]; ++read_, ++candidate) {
      ++tail;
    }
    out.push_back(static_cast<std::byte>(slot));
    out.push_back(static_cast<std::byte>(tail));
    return true;
  }

  std::span<const std::byte> in_;
  std::size_t limit_;
  std::size_t read_ = kHeaderBytes;
  bool pending_ = false;
  std::size_t pending_slot_ = 0;
  std::size_t pending_position_ = 0;
  std::array<std::size_t, 256> slots_{};
};

void append_number(std::vector<std::byte>& out, std::uint64_t value, std::size_t width,
                   ByteOrder order) {
  for (std::size_t i = 0; i < width; ++i) {
    const std::size_t shift = 8 * (order == ByteOrder::little ? i : width - 1 - i);
    out.push_back(static_cast<std::byte>((value >> shift) & 0xff));
  }
}

}  // namespace

std::optional<std::vector<std::byte>> compress(std::span<const std::byte> message) {
  const Result<Header> parsed = parse_header(message);
  if (!parsed || parsed->message_bytes != message.size() ||
      parsed->compression != Compression::none || message.size() <= kCompressAboveBytes) {
    return std::nullopt;
  }
  Header header = *parsed;
  const bool wide = message.size() > 0xffffffffU;
  header.compression = wide ? Compression::compressed_64 : Compression::compressed;
  std::vector<std::byte> out(kHeaderBytes);
  append_number(out, message.size(), wide ? 8 : 4, header.order);
  if (!Compressor(message).run(out)) {
    return std::nullopt;
  }
  header.message_bytes = out.size();
  const auto head = write_header(header);
  std::copy(head.begin(), head.end(), out.begin());
  return out;
}

Result<std::vector<std::byte>> decompress(std::span<const std::byte> message,
                                          std::uint64_t plain_bytes_max) {
  const Result<Header> parsed = parse_header(message);
  if (!parsed) {
    return parsed.error();
  }
  if (parsed->message_bytes != message.size()) {
    return Error{Errc::bad_length, 4};
  }
  if (parsed->compression == Compression::none) {
    return Error{Errc::bad_header, 2};
  }
  const Result<Container> container = open_container(message, *parsed, plain_bytes_max);
  if (!container) {
    return container.error();
  }
  std::vector<std::byte> plain(static_cast<std::size_t>(container->plain_bytes));
  Decompressor decompressor(message, container->stream_offset, plain);
  if (!decompressor.run()) {
    return Error{Errc::bad_compression, decompressor.offset()};
  }
  Header header = *parsed;
  header.compression = Compression::none;
  header.message_bytes = plain.size();
  const auto head = write_header(header);
  std::copy(head.begin(), head.end(), plain.begin());
  return plain;
}

}  // namespace mserve::kdb
