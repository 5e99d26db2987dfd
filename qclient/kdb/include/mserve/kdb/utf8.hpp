// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace mserve::kdb {

/// Bytes of the UTF-8 sequence at the front of `text`: 1 to 4; 0 when it is empty or there is no
/// valid one (overlong, surrogate, cut off).
[[nodiscard]] std::size_t utf8_sequence(std::string_view text) noexcept;

/// Whether a valid sequence of more than one byte is a C1 control, which terminals obey as they
/// obey ESC, or turns the direction in which the text around it is read.
[[nodiscard]] bool misleads_terminal(std::string_view sequence) noexcept;

}  // namespace mserve::kdb
