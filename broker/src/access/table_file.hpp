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

/// A table, and where it is from.
struct TableText {
  std::string text{};
  std::string path{};              ///< Of the file; empty: of a text that has no name.
  std::string name{};              ///< What sentences call it: the path, or a key in that file.
  std::uint32_t lines_before = 0;  ///< In the file, before its first.
};

struct FileLine {
  std::uint32_t number = 0;  ///< In the file, from 1.
  std::string text;          ///< Without its end; never empty.
};

/// How faults begin: `FILE:LINE: `, `FILE: ` for line 0, and `line LINE: ` without a file.
[[nodiscard]] std::string place_in(const std::string& path, std::uint32_t line);

/// What was found wrong, as place_in() has it. Holds the first few: a wrong file has thousands.
class AccessFaults {
 public:
  static constexpr std::size_t kMax = 20;
  /// @param table  outlives it, as `faults` does.
  AccessFaults(const TableText& table, std::vector<std::string>& faults) noexcept
      : table_(table), faults_(faults) {}
  /// @param line  in the file; 0: the table as a whole.
  void add(std::uint32_t line, const std::string& what);
  [[nodiscard]] bool none() const noexcept { return count_ == 0; }
  [[nodiscard]] bool full() const noexcept { return count_ >= kMax; }

 private:
  const TableText& table_;
  std::vector<std::string>& faults_;
  std::size_t count_ = 0;
};

/// A small file as it is: a regular one that not everybody may write to.
/// @param text  its bytes.   @return what is wrong, without the path; empty: nothing.
[[nodiscard]] std::string read_small_file(const std::string& path, std::size_t bytes_max,
                                          std::string& text);

/// A file of at most kAccessFileBytesMax. @return nothing, and a fault, when it cannot be read.
[[nodiscard]] std::optional<TableText> read_table(const std::string& path,
                                                  std::vector<std::string>& faults);

/// All lines that are not blank. Text without control characters; whatever else is a fault, and
/// then there are no lines.
[[nodiscard]] std::vector<FileLine> lines_of(const TableText& table, AccessFaults& faults);

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
