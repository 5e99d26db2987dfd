// SPDX-License-Identifier: Apache-2.0
#include "shim/lbt_reply.hpp"

#include "shim/type_codes.hpp"

namespace mserve::shim {

namespace {

constexpr unsigned kWideCount = 0x80;

/// Reads up to the end of `bytes` and no further; false once something is missing.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, kdb::ByteOrder order) noexcept
      : bytes_(bytes), order_(order) {}

  bool byte(std::byte& out) noexcept {
    if (at_ >= bytes_.size()) {
      return false;
    }
    out = bytes_[at_++];
    return true;
  }
  bool number(std::size_t width, std::uint64_t& out) noexcept {
    if (bytes_.size() - at_ < width) {
      return false;
    }
    out = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const std::size_t from = order_ == kdb::ByteOrder::little ? width - 1 - i : i;
      out = (out << 8) | std::to_integer<std::uint64_t>(bytes_[at_ + from]);
    }
    at_ += width;
    return true;
  }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

 private:
  std::span<const std::byte> bytes_;
  kdb::ByteOrder order_;
  std::size_t at_ = 0;
};

}  // namespace

LbtOpening lbt_opening(std::span<const std::byte> body, kdb::ByteOrder order) noexcept {
  Cursor cursor(body, order);
  LbtOpening opening;
  std::byte type{};
  std::byte attribute{};
  if (!cursor.byte(type) || !cursor.byte(attribute)) {
    return opening;
  }
  const bool wide = (std::to_integer<unsigned>(attribute) & kWideCount) != 0;
  if ((type != kListByte && type != kLongVectorByte) ||
      !cursor.number(wide ? 8 : 4, opening.items)) {
    return opening;
  }
  opening.joined = type == kLongVectorByte;
  std::byte item = kLongAtomByte;
  if (opening.items == 0 || (!opening.joined && (!cursor.byte(item) || item != kLongAtomByte)) ||
      !cursor.number(8, opening.qid)) {
    return opening;
  }
  opening.result_offset = cursor.at();
  opening.is_reply = true;
  return opening;
}

}  // namespace mserve::shim
