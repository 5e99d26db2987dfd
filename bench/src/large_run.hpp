// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench large` was asked for, checked.
struct LargeSettings {
  std::vector<std::uint64_t> sizes;  ///< Bytes of payload.
  CorePair cores;
  std::string broker_path;
};

/// Large requests and large answers in pair mode: bytes per second, each byte counted for each of
/// the three copies that are made of it, beside one memcpy of as many bytes in the same repetition.
void run_large(Run& run, const Plan& plan, const LargeSettings& settings);

}  // namespace mserve::bench
