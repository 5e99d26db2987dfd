// SPDX-License-Identifier: Apache-2.0
// The document of a cluster: rules, users, roles and limits for all of its brokers, as one text
// with a version. Texts in, plain structs out; what others wrote is bounded and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/etcd_messages.hpp"

namespace mserve::cluster {

inline constexpr std::size_t kDocumentBytesMax = 262'144;
inline constexpr std::size_t kNoteBytesMax = 200;
inline constexpr std::size_t kAuthorBytesMax = 100;
inline constexpr std::size_t kHeadBytesMax = 2048;  ///< Of the line beside it.
/// The longest that anybody waits for all brokers to have one.
inline constexpr std::uint64_t kWaitNsMax = 3'600'000'000'000;
/// So many versions are kept.
inline constexpr std::int64_t kVersionsKept = 32;
/// Ten digits of a key.
inline constexpr std::int64_t kVersionMax = 9'999'999'999;
/// Where no document stands: one that leaves few versions to come is none that there was.
inline constexpr std::int64_t kVersionBelieved = kVersionMax / 2;

struct Document {
  std::int64_t version = 0;  ///< From 1; 0: there is none.
  std::int64_t at = 0;       ///< When it was written, ns since 1970.
  std::string by{};          ///< Who did so: USER@ID of the broker there. Printable, as is `note`.
  std::string note{};        ///< Why, in his words; may be empty.
  std::string text{};        ///< TOML, at most kDocumentBytesMax.
  bool operator==(const Document&) const = default;

  /// `version 7 by root@host-a`.
  [[nodiscard]] std::string name() const;
};

/// Where former versions are, and one of them: versions have ten digits, so that they sort.
[[nodiscard]] KeyRange history_keys(const std::string& cluster);
[[nodiscard]] std::string history_key(const std::string& cluster, std::int64_t version);
/// Of a key of the history; 0: it is none.
[[nodiscard]] std::int64_t version_of(const std::string& cluster, std::string_view key);

/// What etcd keeps: a line of JSON, and the text behind it.
[[nodiscard]] std::string to_value(const Document& document);
/// @param fault  what is wrong, when there is nothing.
[[nodiscard]] std::optional<Document> read_document(std::string_view value, std::string& fault);

/// What the broker reads: the text, and behind it the same line, with a digest, as a comment.
[[nodiscard]] std::string to_file(const Document& document);
/// Version 0, with all of it as the text, where that comment is missing or of another text.
[[nodiscard]] Document from_file(std::string_view file);

/// What comes behind the versions that there were.
struct NextVersion {
  std::int64_t version = 1;
  std::string stray{};  ///< A key among the former versions that counts for nothing; empty: none.
};
/// @param current  of the document that stands there: what is beyond it somebody else has put
/// there. 0: none stands there any more. Then the former versions say, which are in a row since
/// they are kept so: the longest one counts, of two the lower one.
[[nodiscard]] NextVersion next_version(const std::string& cluster, std::int64_t current,
                                       const Listing& kept);

/// Writes `document` where one of `revision` stands (0: none does), also among the former
/// versions, of which the oldest go; what somebody else put in its place there goes as well.
[[nodiscard]] Txn write_txn(const std::string& cluster, const Document& document,
                            std::int64_t revision);

/// What etcd says the document is.
class DocumentWatch {
 public:
  explicit DocumentWatch(const std::string& cluster);

  /// Of all that is listed or told, what is about the document. @return whether it is another.
  bool listed(const Listing& all);
  bool told(const WatchEvent& event);

  /// Whether etcd has told anything since the start.
  [[nodiscard]] bool known() const noexcept { return known_; }
  /// The last one that could be read. Version 0: there is none.
  [[nodiscard]] const Document& document() const noexcept { return document_; }
  /// Of its key; 0: there is none.
  [[nodiscard]] std::int64_t revision() const noexcept { return revision_; }
  /// Why what stands there cannot be read; empty: it can, and is document().
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

 private:
  bool put(const KeyValue& kv);
  bool gone();

  const std::string key_;
  Document document_{};
  std::int64_t revision_ = 0;
  std::string value_{};  // of its key, at that revision
  std::string fault_{};
  bool known_ = false;
};

}  // namespace mserve::cluster
