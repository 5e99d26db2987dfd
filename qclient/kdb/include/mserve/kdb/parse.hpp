// SPDX-License-Identifier: Apache-2.0
// q literals and literal calls from text. Nothing is ever evaluated: whatever is not a literal is
// refused, with the reason.
//
// Literals: atoms and vectors of every type with nulls and infinities (1 0N 3i, 0x0102, 101b,
// 2024.01.02D10:00 0Np, `a`b, "a\n\"b"), (a;b;c), (), enlist x, enlist[x;y], `long$(), keys!values,
// ([]a:1 2;b:`x`y), ([k:`a`b]v:1 2), `s#vector, ::. Not literals: names, calls, operators, lambdas,
// adverbs, assignments, system commands, casts other than of (). Text is ASCII outside strings and
// symbols; control characters other than tab, newlines and comments are unparsable.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

struct ParseLimits {
  std::size_t text_bytes_max = std::size_t{64} * 1024;  ///< Longer text gives text_too_long unread.
  std::size_t depth_max =
      32;  ///< Nested parentheses; deeper gives too_deep. At most kDepthMax counts.
};

/// A function by name and literal arguments. `arguments` is empty only for a bare name (`proc1`, or
/// the symbol `proc1): q would give its value. proc1[] has one argument, `::`, as in q.
struct Call {
  std::string name;
  std::vector<Value> arguments;
};

/// Why there is no Call, and the name of what would have been called as far as it is known (""
/// otherwise).
///   unparsable, text_too_long, too_deep  not understood; offset = column from 0
///   not_a_call         no function name first (1+1, {x}[1], \ls). LBT users expect "unknown
///   command". nested_evaluation  name known, but something behind it is not a literal anything
///   that decode() reports, for call_of(bytes)
struct CallError {
  Error error;
  std::string name;
};

/// True for what q takes as a name: letters, digits, _ and dots, starting with a letter or with a
/// dot and a letter.
[[nodiscard]] bool is_name(std::string_view text) noexcept;

/// True when something that is no literal is anywhere inside: a function other than `::`, or a
/// splayed table (flipped or not), which stands for what q finds under its name.
[[nodiscard]] bool holds_function(const Value& value);

/// One literal. Accepts also the forms that text() of print.hpp writes and q source would read
/// otherwise: `,x` for one-item lists and `+dict` for tables.
/// @return the value, or unparsable, not_literal, text_too_long, too_deep with the column.
[[nodiscard]] Result<Value> parse_value(std::string_view text, const ParseLimits& limits = {});

/// One call: proc1 `IBM / proc1[`IBM;1 2f] / (`proc1;`IBM) / ("proc1";`IBM) / proc1[] / proc1.
/// `system "ls"` is a call of `system`: refusing it is the allow-list's business.
[[nodiscard]] Result<Call, CallError> parse_call(std::string_view text,
                                                 const ParseLimits& limits = {});

/// A query object as q takes it: (`f;args...), ("f";args...), a symbol vector, a symbol atom, or a
/// string, which is parsed as text. A function of any kind other than `::` anywhere in an argument
/// is nested_evaluation.
[[nodiscard]] Result<Call, CallError> call_of(const Value& query, const ParseLimits& limits = {});

/// As above, from an encoded little-endian object.
[[nodiscard]] Result<Call, CallError> call_of(std::span<const std::byte> object,
                                              const ParseLimits& limits = {});

}  // namespace mserve::kdb
