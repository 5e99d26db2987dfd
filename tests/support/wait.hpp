// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace mserve::test {

/// Long enough that only a hang reaches it, on a loaded machine and under a sanitizer.
inline constexpr std::uint64_t kWatchdogNs = 60'000'000'000;

/// The absolute deadline of a watchdog that starts now.
[[nodiscard]] std::uint64_t watchdog() noexcept;

/// Looks at `condition` again and again until it holds.
/// @return false, and the running test has failed with `what`, when the watchdog ran out.
[[nodiscard]] bool wait_until(const std::function<bool()>& condition, const std::string& what);

/// Lets `ns` pass: for tests whose subject is that nothing happens meanwhile, never to synchronise.
void let_pass(std::uint64_t ns);

/// The whole of a file, also of one in /proc; empty when it cannot be read.
[[nodiscard]] std::string read_file(const std::string& path);

/// Entries of a directory whose name contains `part`.
[[nodiscard]] std::size_t count_entries(const std::string& directory, const std::string& part = {});

}  // namespace mserve::test
