// SPDX-License-Identifier: Apache-2.0
// The few bytes that the shim writes itself: what stands around a request on its way to q, probes,
// errors. All little endian, as everything we send.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "mserve/kdb/message.hpp"

namespace mserve::shim {

/// What q and we say to each other; DESIGN "Servant conventions of the shim".
enum class Form : std::uint8_t {
  plain,  ///< A sync message with the query; q's response is the answer.
  lbt,    ///< Async (qid; query; options) there, async (qid; result) or (qid; result; info) back.
};

/// Bytes in a place of their own: no allocation. What does not fit is cut off.
template <std::size_t N>
class SmallBytes {
 public:
  void clear() noexcept { size_ = 0; }
  void put(std::span<const std::byte> bytes) noexcept {
    const std::size_t count = bytes.size() < N - size_ ? bytes.size() : N - size_;
    std::memcpy(bytes_.data() + size_, bytes.data(), count);
    size_ += count;
  }
  void put(std::byte byte) noexcept { put(std::span(&byte, 1)); }
  void put(std::uint8_t byte) noexcept { put(std::byte{byte}); }
  /// The low `width` bytes of a number.
  void put_number(std::uint64_t number, std::size_t width) noexcept {
    for (std::size_t i = 0; i < width; ++i) {
      put(static_cast<std::uint8_t>(number >> (8 * i)));
    }
  }
  [[nodiscard]] std::span<const std::byte> view() const noexcept { return {bytes_.data(), size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::array<std::byte, N> bytes_{};
  std::size_t size_ = 0;
};

/// Room for every message and error object that is made here.
using OwnBytes = SmallBytes<128>;

/// Size of the front of (qid; ...): list, attribute, count, and the qid as a long atom.
inline constexpr std::size_t kLbtPrefixBytes = 6 + 9;

/// The empty dictionary ()!(): the options of a request that has none.
[[nodiscard]] std::span<const std::byte> no_options() noexcept;

void put_header(OwnBytes& to, kdb::MessageKind kind, std::uint64_t body_bytes) noexcept;
/// The front of a general list of `items` that starts with `qid`.
void put_lbt_prefix(OwnBytes& to, std::uint32_t items, std::uint64_t qid) noexcept;
/// A sync "", which every q answers.
void put_plain_probe(OwnBytes& to) noexcept;
/// The async LBT request (0;"";()!()).
void put_lbt_probe(OwnBytes& to) noexcept;
/// Of another broker: that nobody waits for the request `qid` any more. Nothing answers this.
void put_cancel(OwnBytes& to, std::uint64_t qid) noexcept;
/// Asks which process q is: a sync ".z.i"; of LBT's servants the async (0;".z.i";()!()), and a sync
/// "" behind it, since only that is answered by every one.
void put_process_question(OwnBytes& to, Form form) noexcept;
/// A kdb+ error object. @param text  without a NUL; at most 100 bytes of it are used.
void put_error(OwnBytes& to, std::string_view text) noexcept;
/// The response to a sync message of q's: the error `nyi`.
void put_nyi_response(OwnBytes& to) noexcept;

}  // namespace mserve::shim
