// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace mserve::test {

inline constexpr std::size_t kMiB = std::size_t{1} << 20;  // bytes

}  // namespace mserve::test
