// SPDX-License-Identifier: Apache-2.0
// Recursive descent over one text; recursion stops at the depth limit. Positions are columns from
// 0.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/parse.hpp"

namespace mserve::kdb::detail {

class Parser {
 public:
  /// @param k_forms  also read what only -3! writes: `,x`, `+dict`, bare guids, `s#x.
  Parser(std::string_view text, std::size_t depth_max, bool k_forms) noexcept
      : text_(text), depth_left_(depth_max), k_forms_(k_forms) {}

  /// One literal up to the end of the text, or up to a `;`, `)` or `]` that is left unread.
  bool expression(Value& value);

  /// A name as is_name() has it; empty when there is none here.
  std::string_view name();

  /// Skips blanks; then true when the text is through.
  bool at_end() noexcept;
  /// Skips blanks; then takes `c` if it is next.
  bool take(char c) noexcept;
  /// Skips blanks; the next character, or NUL at the end.
  char peek() noexcept;

  /// Fails at the next character: unparsable when nothing in q starts like this, not_literal
  /// otherwise.
  bool fail_here() noexcept;
  bool fail(Errc code, std::size_t offset) noexcept;

  [[nodiscard]] const Error& error() const noexcept { return error_; }
  [[nodiscard]] std::size_t position() const noexcept { return position_; }

 private:
  bool unguarded_expression(Value& value);
  bool noun(Value& value);
  bool behind_noun(Value& value, std::size_t start);
  bool numbers(Value& value);
  std::string_view number_word() noexcept;
  bool at_number(std::size_t at) const noexcept;
  bool guids(Value& value);
  bool string(Value& value);
  bool escape(std::string& text);
  bool string_or_guid(Value& value);
  bool symbols(Value& value);
  bool symbol_cast(Value& value, std::string_view name, std::size_t start);
  bool attributed(Value& value, char letter);
  bool parentheses(Value& value);
  bool items(std::vector<Value>& values, char close);
  bool table(Value& value);
  bool table_columns(std::vector<std::string>& names, std::vector<Value>& columns, char close);
  bool enlist(Value& value);
  bool flip(Value& value);
  bool checked(Value& value, Value made, std::size_t start);
  [[nodiscard]] char char_at(std::size_t at) const noexcept {
    return at < text_.size() ? text_[at] : '\0';
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t depth_left_;
  bool k_forms_;
  Error error_;
};

}  // namespace mserve::kdb::detail
