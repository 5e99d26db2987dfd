// SPDX-License-Identifier: Apache-2.0
// The one-line form of any value, bounded in length.
#pragma once

#include <cstddef>
#include <string>

#include "format.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb::detail {

/// Writes the one-line form and stops soon after `bytes_max` bytes: work is bounded by that, not by
/// the value.
class TextWriter {
 public:
  TextWriter(Style style, std::size_t bytes_max) noexcept : style_(style), bytes_max_(bytes_max) {}

  void value(const Value& value);

  /// True when the text was broken off.
  [[nodiscard]] bool full() const noexcept { return out_.size() > bytes_max_; }
  [[nodiscard]] std::string take() && noexcept { return std::move(out_); }

 private:
  void atom(const Value& value);
  void vector(const Value& value);
  template <class T>
  void number_items(Type type, std::span<const T> items);
  void symbols(std::span<const std::string> items);
  void list(const Value& value);
  void dict(const Value& keys, const Value& values);
  void parenthesised(const Value& value);
  void function(const Value& value);
  void projection(std::span<const std::byte> bytes, bool composition);
  void quoted(std::string_view text);
  void attribute(const Value& value);

  std::string out_;
  Style style_;
  std::size_t bytes_max_;
};

/// Item `index` of a column or of a dictionary's half, as a table shows it: bare, nulls blank;
/// items of lists as text.
std::string cell(const Value& column, std::size_t index, const Style& style, std::size_t bytes_max);

}  // namespace mserve::kdb::detail
