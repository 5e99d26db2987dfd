// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve {

/// Numbers of cores as the kernel counts them (processing units: each SMT thread is one), ascending
/// and without doubles.
using CoreList = std::vector<int>;

/// Cores beyond this number are not believed, whoever names them.
inline constexpr int kCoresMax = 4096;

/// Reads a list as sysfs has it, `0-3,8`, without blanks. Empty text is the empty list.
/// @return nothing when it is none, or names a core of kCoresMax or above.
[[nodiscard]] std::optional<CoreList> parse_cores(std::string_view text);
/// The same list as text; "" for none.
[[nodiscard]] std::string cores_text(const CoreList& cores);
/// "core 1 is" or "cores 1-3 are", for a sentence.
[[nodiscard]] std::string cores_are(const CoreList& cores);
[[nodiscard]] bool contains(const CoreList& cores, int core) noexcept;
/// Those of `all` that are not in `without`.
[[nodiscard]] CoreList minus(const CoreList& all, const CoreList& without);
/// The same, but all of them where none would be left.
[[nodiscard]] CoreList avoiding(const CoreList& all, const CoreList& without);
/// Those of either.
[[nodiscard]] CoreList joined(const CoreList& some, const CoreList& others);

/// Cores that the calling thread may run on (its affinity mask).
[[nodiscard]] CoreList allowed_cores();
/// Cores that the calling process may move to: all that are online and in its control group's
/// cpuset, also those that its mask leaves out, as that of everything that init starts leaves out
/// isolated ones (isolcpus). Starts a thread for a moment; any thread may call it.
[[nodiscard]] CoreList possible_cores();
/// Lets the calling thread run on these only, and those that it starts from here on.
/// @return false when the kernel does not allow one of them; where it runs then is as it was, or on
///         those that are allowed.
bool stay_on(const CoreList& cores);

}  // namespace mserve
