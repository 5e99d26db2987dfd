// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <string_view>

#include "mserve/client/client.hpp"
#include "tool/exit_code.hpp"
#include "tool/settings.hpp"

namespace mserve::tool {

/// Sends one query, waits, prints.
[[nodiscard]] ExitCode run_query(Client& client, std::string_view text, const Settings& settings);

/// The same for each line of `in`. @return the first code other than ok; stops when the broker is
/// gone.
[[nodiscard]] ExitCode run_lines(Client& client, std::istream& in, const Settings& settings);

}  // namespace mserve::tool
