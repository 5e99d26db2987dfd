// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::program {

/// Which of `words` somebody who wrote `word` may have meant: the one with the fewest letters
/// added, left out or changed, capitals and underscores apart; empty if none is near.
/// @param most  so many letters; without it two, of long words a third, of short ones one.
[[nodiscard]] std::string nearest_word(std::string_view word, const std::vector<std::string>& words,
                                       std::optional<std::size_t> most = std::nullopt);

/// What to say of a command line that named no subcommand.
/// @param typed  arguments that nobody took; options among them are passed over.
/// @param words  the subcommands there are.
/// @return one sentence that names the word and the nearest; empty: there was no word.
[[nodiscard]] std::string unknown_subcommand(const std::vector<std::string>& typed,
                                             const std::vector<std::string>& words);

}  // namespace mserve::program
