// SPDX-License-Identifier: Apache-2.0
// Values as q's console shows them, and as one line of text.
#pragma once

#include <cstddef>
#include <string>

#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

/// The console's size as q's `\c` has it, and the digits of `\P`.
struct Console {
  std::size_t height = 25;  ///< Lines; longer output ends in a line `..`. Values below 10 count as
                            ///< 10, above 2000 as 2000.
  std::size_t width = 80;   ///< Characters; longer lines end in `..`. Values below 10 count as 10,
                            ///< above 2000 as 2000.
  int precision =
      7;  ///< Significant digits of floats; 0 means 17. Reals show at most 7 (q's `\P`).
};

/// What q's console prints for the value, each line ended by a newline; nothing for `::`; 'text for
/// an error. Work and memory are bounded by the console's size, not by the value's.
[[nodiscard]] std::string show(const Value& value, const Console& console = {});

/// One line, as .Q.s1 (-3!) writes it but with all digits: `a`b!1 2, +`a`b!(1 2;`x`y), ,1.
/// parse_value() reads it back for all literals.
[[nodiscard]] std::string text(const Value& value);

/// As text(), cut to about `bytes_max` with `..` at the end when it is longer. Work is bounded by
/// bytes_max.
[[nodiscard]] std::string text(const Value& value, std::size_t bytes_max);

}  // namespace mserve::kdb
