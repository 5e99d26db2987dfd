// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::broker {

/// One key of a configuration file.
struct FileEntry {
  std::string key;
  std::vector<std::string> values;  ///< As they would be written behind a flag; several from [..].
  std::uint32_t line = 0;
  std::uint32_t text_line = 0;  ///< Where the first line of a string's text stands; else 0.
};

/// A TOML text of plain keys, no tables: strings, numbers, booleans, and arrays of these. No input
/// or output; takes some twenty times the memory of `text`.
/// @param path    what faults begin with, see place_in(); empty: a text without a name.
/// @param faults  gets one for each fault; the entries, by line, are of no use then.
[[nodiscard]] std::vector<FileEntry> parse_options(std::string_view text, const std::string& path,
                                                   std::vector<std::string>& faults);

/// Reads a TOML file of plain keys, no tables: strings, numbers, booleans, and arrays of these.
/// A file that everybody may write to is refused: whoever writes it is the operator.
/// @param again   not for the first time: then a pipe is refused too, which gives its bytes once
/// and
///                may keep its reader waiting.
/// @param faults  gets one "FILE:LINE: what is wrong" each; the entries are of no use then.
[[nodiscard]] std::vector<FileEntry> read_options_file(const std::string& path, bool again,
                                                       std::vector<std::string>& faults);

}  // namespace mserve::broker
