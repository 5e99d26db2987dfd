// SPDX-License-Identifier: Apache-2.0
// What a broker tells its cluster of itself: the value of its key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/etcd_messages.hpp"

namespace boost::json {  // NOLINT(readability-identifier-naming): not ours
class object;
}  // namespace boost::json

namespace mserve::cluster {

inline constexpr std::size_t kServantGroupsMax = 48;  ///< All of them fit a value.
inline constexpr std::size_t kTagsBytesMax = 255;
inline constexpr std::size_t kFaultBytesMax = 600;  ///< It fits beside those.

/// Servants with the same tags.
struct ServantGroup {
  std::string tags{};      ///< Words with blanks between, in order, without weight; printable.
  std::uint32_t free = 0;  ///< How many could take a request now,
  std::uint32_t busy = 0;  ///< and how many run as many as they may.
  bool operator==(const ServantGroup&) const = default;
};

/// How a broker stands to the document of its cluster.
struct DocumentStanding {
  std::int64_t version = 0;  ///< What holds there; 0: none.
  std::int64_t refused = 0;  ///< A version that it refused since; 0: none.
  std::string fault{};       ///< Why; at most kFaultBytesMax, printable.
  bool operator==(const DocumentStanding&) const = default;
};

struct BrokerRecord {
  std::string id{};
  std::string address{};  ///< HOST:PORT of its gateway.
  std::string zone{};
  std::string region{};
  std::string version{};
  bool draining = false;
  std::uint64_t epoch = 0;  ///< Another one after each start of the broker.
  std::vector<ServantGroup> servants{};
  std::uint64_t queued = 0;
  std::uint64_t queue_age_ms = 0;
  double load = 0;  ///< 0 to 1: of what its servants may run, how much they do.
  std::optional<DocumentStanding> document{};  ///< None: that broker knows no documents.
  bool operator==(const BrokerRecord&) const = default;

  [[nodiscard]] const char* state() const noexcept { return draining ? "draining" : "serving"; }
};

/// The prefix of all keys of a cluster's brokers, and one of them.
[[nodiscard]] std::string brokers_prefix(const std::string& cluster);
[[nodiscard]] std::string broker_key(const std::string& cluster, const std::string& id);
/// The key of the cluster's document, and all keys that each member watches: this and the brokers'.
[[nodiscard]] std::string document_key(const std::string& cluster);
[[nodiscard]] KeyRange watched_keys(const std::string& cluster);

/// As an object of JSON: what is in a record, and what is shown of it.
[[nodiscard]] boost::json::object standing_json(const DocumentStanding& standing);

/// One line of JSON.
[[nodiscard]] std::string to_json(const BrokerRecord& record);

/// Reads what another broker wrote; fields that are not known are passed over.
/// @param id  as its key says.
/// @param fault  what is wrong, when there is nothing.
[[nodiscard]] std::optional<BrokerRecord> read_record(std::string_view text, std::string_view id,
                                                      std::string& fault);

/// Whether two values of the key of broker `id` are those of one broker: it has the same address or
/// was not started anew. What cannot be read is nobody's.
[[nodiscard]] bool same_broker(std::string_view one, std::string_view other, std::string_view id);

/// The words of tags, in order and each once, without `weight=` and `peer=`; blanks between.
[[nodiscard]] std::string servant_tags(std::string_view tags);
/// Those of all servants of a record, with blanks between; whole words up to `bytes_max`.
[[nodiscard]] std::string all_tags(const BrokerRecord& record, std::size_t bytes_max);

}  // namespace mserve::cluster
