// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace mserve::broker {

/// A password while it is needed: in one place of memory, which is wiped when it goes.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text) : bytes_(text.size() + 1, '\0') {
    text.copy(bytes_.data(), text.size());
  }
  Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Secret& operator=(Secret&& other) noexcept {
    bytes_.swap(other.bytes_);
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() {
    if (!bytes_.empty()) {
      ::explicit_bzero(bytes_.data(), bytes_.size());
    }
  }

  [[nodiscard]] std::string_view text() const noexcept {
    return bytes_.empty() ? std::string_view() : std::string_view(bytes_.data(), bytes_.size() - 1);
  }
  /// The same, ended by a NUL.
  [[nodiscard]] const char* c_str() const noexcept { return bytes_.empty() ? "" : bytes_.data(); }

 private:
  std::vector<char> bytes_;  // with the NUL
};

}  // namespace mserve::broker
