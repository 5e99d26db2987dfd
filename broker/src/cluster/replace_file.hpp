// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace mserve::cluster {

/// Replaces a file as a whole: whoever reads sees the old or the new one. Its mode is 0600, or 0640
/// for a group. A link or another kind of file at `path` is replaced, not followed.
/// @return 0, or errno.
[[nodiscard]] int replace_file(const std::string& path, const std::string& text,
                               std::optional<gid_t> group = std::nullopt);

}  // namespace mserve::cluster
