// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/utf8.hpp"

namespace mserve::kdb {

std::size_t utf8_sequence(std::string_view text) noexcept {
  if (text.empty()) {
    return 0;
  }
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const std::size_t size = first < 0x80                    ? 1
                           : first >= 0xc2 && first < 0xe0 ? 2
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xf0 && first < 0xf5 ? 4
                                                           : 0;
  if (size == 0 || size > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) {
      return 0;
    }
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) >= 0xa0;
  const bool too_large = first == 0xf4 && byte(1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : size;
}

bool misleads_terminal(std::string_view sequence) noexcept {
  const auto byte = [sequence](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 2) {
    return (byte(0) == 0xc2 && byte(1) < 0xa0) || sequence == "\xd8\x9c";  // C1, U+061C
  }
  if (sequence.size() != 3 || byte(0) != 0xe2) {
    return false;
  }
  const unsigned third = byte(2);
  return (byte(1) == 0x80 && (third == 0x8e || third == 0x8f ||      // U+200E, U+200F
                              (third >= 0xaa && third <= 0xae))) ||  // U+202A to U+202E
         (byte(1) == 0x81 && third >= 0xa6 && third <= 0xa9);        // U+2066 to U+2069
}

}  // namespace mserve::kdb
