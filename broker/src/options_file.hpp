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
};

/// Reads a TOML file of plain keys, no tables: strings, numbers, booleans, and arrays of these.
/// A file that everybody may write to is refused: whoever writes it is the operator.
/// @param again   not for the first time: then a pipe is refused too, which gives its bytes once
/// and
///                may keep its reader waiting.
/// @param faults  gets one "FILE:LINE: what is wrong" each; the entries are of no use then.
[[nodiscard]] std::vector<FileEntry> read_options_file(const std::string& path, bool again,
                                                       std::vector<std::string>& faults);

}  // namespace mserve::broker
