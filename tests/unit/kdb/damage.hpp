// SPDX-License-Identifier: Apache-2.0
// Random damage to encoded objects.
#pragma once

#include <cstddef>
#include <iterator>
#include <random>
#include <vector>

namespace mserve::test {

/// Changes, removes or inserts one to four bytes, often to values that mean something.
inline void damage(std::vector<std::byte>& bytes, std::mt19937_64& random) {
  constexpr int kTelling[] = {0, 1, 0x80, 0xff, 0x7f, 11, 98, 99, 100, 104, 127, 0xf5};
  for (std::uint64_t left = 1 + random() % 4; left > 0 && !bytes.empty(); --left) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<std::byte>(random());
        break;
      case 1:
        bytes[at] = static_cast<std::byte>(kTelling[random() % std::size(kTelling)]);
        break;
      case 2:
        bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      default:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     static_cast<std::byte>(random()));
    }
  }
}

/// Short random bytes, mostly type codes and small numbers, so that objects begin.
inline std::vector<std::byte> random_object_bytes(std::mt19937_64& random) {
  constexpr int kTypes[] = {0, 1, 4, 7, 10, 11, 98, 99, 100, 101, 104, 106, 127, 0xff, 0xf5, 0xf9};
  std::vector<std::byte> bytes(1 + random() % 40);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(
        random() % 3 == 0   ? random()
        : random() % 2 == 0 ? static_cast<std::uint64_t>(kTypes[random() % std::size(kTypes)])
                            : random() % 3);
  }
  return bytes;
}

}  // namespace mserve::test
