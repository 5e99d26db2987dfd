// SPDX-License-Identifier: Apache-2.0
// The files that say who may do what: small, of lines, and refused as a whole when one is wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::broker {

inline constexpr std::size_t kAccessFileBytesMax = std::size_t{4} << 20;
inline constexpr std::size_t kAccessLineBytesMax = std::size_t{64} << 10;

struct FileLine {
  std::uint32_t number = 0;  ///< From 1.
  std::string text;          ///< Without its end; never empty.
};

/// What was found wrong, as `FILE:LINE: what`. Holds the first few: a wrong file has thousands.
class AccessFaults {
 public:
  static constexpr std::size_t kMax = 20;
  explicit AccessFaults(std::vector<std::string>& faults) noexcept : faults_(faults) {}
  /// @param line  0: the file as a whole.
  void add(const std::string& path, std::uint32_t line, const std::string& what);
  [[nodiscard]] bool none() const noexcept { return count_ == 0; }
  [[nodiscard]] bool full() const noexcept { return count_ >= kMax; }

 private:
  std::vector<std::string>& faults_;
  std::size_t count_ = 0;
};

/// All lines that are not blank. A regular file of at most kAccessFileBytesMax, text without
/// control characters; whatever else is a fault, and then there are no lines.
[[nodiscard]] std::vector<FileLine> read_lines(const std::string& path, AccessFaults& faults);

/// The fields of a line of a CSV file, without blanks around them. One in double quotes may hold
/// the separator, and "" for a quote. @return nothing when a quote is not closed.
[[nodiscard]] std::optional<std::vector<std::string>> split_fields(std::string_view line,
                                                                   char separator);

/// `|`, as LBT has it, if it is in the header; else a comma.
[[nodiscard]] char separator_of(std::string_view header) noexcept;

/// The place of the first of `names` in a header; nothing when none of them is there.
[[nodiscard]] std::optional<std::size_t> column_of(const std::vector<std::string>& header,
                                                   std::initializer_list<std::string_view> names);

/// A name that may go into a message: printable ASCII, cut where it is long.
[[nodiscard]] std::string shown_name(std::string_view name);

}  // namespace mserve::broker
