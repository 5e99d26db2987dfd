// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Text for terminals, which break lines that are too long within a word.
namespace mserve::program {

/// How many columns the terminal has that stdout is: as the kernel says, else $COLUMNS, else 80.
/// @return 0: stdout is no terminal, and gets its lines whole.
[[nodiscard]] std::size_t terminal_width();

/// A line as lines of at most `width` characters, parted at blanks; a word that is longer than
/// there is room for behind `|` or `,`, else not at all. All but the first begin with `hang`
/// blanks; the first keeps its first `hang` characters. A `hang` that leaves no room is 0.
[[nodiscard]] std::vector<std::string> wrapped_line(std::string line, std::size_t width,
                                                    std::size_t hang = 0);

/// Help as CLI11 lays it out, for `width` columns, 60 at least: a line that is too long goes on
/// below what it says of its option, with the lines behind it that belong to the same paragraph.
/// All else stays as it is.
[[nodiscard]] std::string wrapped_help(std::string_view help, std::size_t width);

}  // namespace mserve::program
