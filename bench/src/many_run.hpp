// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/shm/idle.hpp"
#include "run.hpp"

namespace mserve::bench {

/// N clients and M servants.
struct Crowd {
  std::uint32_t clients = 1;
  std::uint32_t servants = 1;
};
/// "8x4"; nothing when the text is anything else, or a number is 0 or above 256.
[[nodiscard]] std::optional<Crowd> parse_crowd(std::string_view text);

/// What `mserve-bench many` was asked for, checked.
struct ManySettings {
  std::vector<Crowd> crowds;
  std::size_t payload_bytes = 40;
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  std::string broker_path;
};

/// N clients, each a process with one request under way, and M echo servants, each a process:
/// latencies, and requests per second of all together.
void run_many(Run& run, const Plan& plan, const ManySettings& settings);

}  // namespace mserve::bench
