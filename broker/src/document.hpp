// SPDX-License-Identifier: Apache-2.0
// What holds for all brokers of a cluster: a layer of configuration between a broker's flags and
// its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/table_file.hpp"
#include "options_file.hpp"

namespace mserve::broker {

inline constexpr std::size_t kDocumentBytesMax = std::size_t{256} << 10;
/// Behind it, in the file, stands a comment of mserve-cluster.
inline constexpr std::size_t kDocumentHeadBytesMax = 2048;
inline constexpr std::size_t kDocumentFaultsMax = 20;
inline constexpr std::size_t kDocumentFaultBytesMax = 512;

/// A TOML text: keys of `mserve-broker --config` that may change while a broker runs, and
/// `users-table` and `roles-table`, which hold as text what the files of --users and --roles have
/// in them, and take their place.
struct Document {
  std::vector<FileEntry> entries{};  ///< But for the two tables.
  std::optional<TableText> users{};
  std::optional<TableText> roles{};
};

/// The first line that is not valid UTF-8, which TOML and JSON are; 0: there is none.
[[nodiscard]] std::uint32_t line_without_utf8(std::string_view text) noexcept;

/// Takes a text apart; whether its keys are known and their values right is told by OptionKeys and
/// AccessRules. No input or output.
/// @param path    what faults begin with, see place_in().
/// @param faults  gets one for each fault; the document is of no use then.
[[nodiscard]] Document parse_document(std::string_view text, const std::string& path,
                                      std::vector<std::string>& faults);

/// Where a broker finds it: DIRECTORY/NAME.cluster.toml, which mserve-cluster writes.
[[nodiscard]] std::string document_path(const std::string& directory, const std::string& name);
/// Where it finds one that it has not taken yet, instead of that, when it reads its configuration
/// again.
[[nodiscard]] std::string staged_document_path(const std::string& directory,
                                               const std::string& name);

/// Reads it. @return nothing when there is no such file, or it has faults, which `faults` gets.
[[nodiscard]] std::optional<Document> read_document(const std::string& path,
                                                    std::vector<std::string>& faults);

/// Whether a text may be the document of a cluster: what any broker says of it that has no flags or
/// files of its own in the way. A broker may still refuse it, for instance a policy `plugin` where
/// it has none.
/// @param text  any bytes. More than kDocumentBytesMax are not looked at.
/// @return every fault, kDocumentFaultsMax at most: `line N: what`, printable ASCII of at most
///         kDocumentFaultBytesMax; empty: it may be.
/// @thread any.   No input or output; takes some milliseconds and, for a text of the largest size,
///         some ten megabytes.
[[nodiscard]] std::vector<std::string> check_document(std::string_view text);

}  // namespace mserve::broker
