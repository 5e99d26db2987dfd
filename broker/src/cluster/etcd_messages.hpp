// SPDX-License-Identifier: Apache-2.0
// What is said to etcd's JSON gateway (v3) and what it answers: texts in, plain structs out. Every
// answer is hostile: bounded, each field checked. 64-bit numbers of etcd are never negative here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mserve::cluster {

inline constexpr std::size_t kAnswerBytesMax = std::size_t{8} << 20;
inline constexpr std::size_t kKeyBytesMax = 512;
inline constexpr std::size_t kValueBytesMax = 16384;     ///< Of what a broker tells of itself.
inline constexpr std::size_t kStoredBytesMax = 266'240;  ///< Of any value: a document and its head.
inline constexpr std::size_t kKeysMax = 1024;  ///< Of a listing; etcd is asked for no more.

inline constexpr const char* kAuthenticatePath = "/v3/auth/authenticate";
inline constexpr const char* kGrantPath = "/v3/lease/grant";
inline constexpr const char* kKeepAlivePath = "/v3/lease/keepalive";
inline constexpr const char* kRevokePath = "/v3/lease/revoke";
inline constexpr const char* kPutPath = "/v3/kv/put";
inline constexpr const char* kRangePath = "/v3/kv/range";
inline constexpr const char* kTxnPath = "/v3/kv/txn";
inline constexpr const char* kWatchPath = "/v3/watch";

struct KeyValue {
  std::string key{};
  std::string value{};  ///< Empty too where it is longer than kStoredBytesMax.
  std::int64_t mod_revision = 0;
  std::int64_t lease = 0;  ///< 0: none.
};

/// Keys below a prefix, by key.
struct Listing {
  std::int64_t revision = 0;  ///< Of the store: a watch goes on behind it.
  bool more = false;          ///< There are keys behind these.
  std::int64_t count = 0;     ///< How many there are, those and skipped ones included.
  std::size_t skipped = 0;    ///< Keys longer than kKeyBytesMax, which are not among them.
  std::string last{};         ///< Of an answer that has more: its last key, skipped or not.
  std::vector<KeyValue> all{};

  /// How many keys there are behind these.
  [[nodiscard]] std::uint64_t left_out() const noexcept {
    const std::uint64_t seen = all.size() + skipped;
    const auto there = static_cast<std::uint64_t>(count);
    return more && there > seen ? there - seen : 0;
  }
};

/// What tells whether any of some keys has changed.
struct Newest {
  std::int64_t count = 0;     ///< Keys there are.
  std::int64_t revision = 0;  ///< Of the one that was written last; 0: there is none.
  std::int64_t store = 0;     ///< Of the store.
  bool operator==(const Newest&) const = default;
};

/// Keys from one to before another.
struct KeyRange {
  std::string from{};
  std::string end{};
};
/// All keys that begin with `prefix`, which ends in a byte below 0xff.
[[nodiscard]] KeyRange keys_below(std::string_view prefix);
/// That one.
[[nodiscard]] KeyRange only_key(std::string_view key);

struct WatchEvent {
  bool removed = false;  ///< Then only key and mod_revision are there.
  KeyValue kv{};
};

/// One line of a watch.
struct WatchAnswer {
  bool created = false;
  bool canceled = false;
  std::int64_t compact_revision = 0;  ///< Not 0: the wanted revision is gone; list anew.
  std::int64_t revision = 0;          ///< Of the store.
  std::string reason{};               ///< Of a cancel; printable.
  std::int64_t newest = 0;            ///< Revision of the last event, skipped ones included.
  std::size_t skipped = 0;            ///< Events of keys longer than kKeyBytesMax.
  std::vector<WatchEvent> events{};
};

/// What is written at once, or not at all.
struct Txn {
  // Only if ...
  std::string key{};
  std::int64_t mod_revision = 0;  ///< ... it was written at that revision last; 0: there is none.
  std::vector<std::pair<std::string, std::string>> puts{};  ///< Keys and values, without a lease.
  KeyRange removed{};                                       ///< Holds none of them.
};

struct TxnAnswer {
  bool succeeded = false;
  std::int64_t revision = 0;        ///< Of the store; of what was written, if it succeeded.
  std::optional<KeyValue> found{};  ///< Else: what Txn::key is; none: there is no such key.
};

struct Lease {
  std::int64_t id = 0;  ///< Not 0.
  std::int64_t ttl_s = 0;
};

// Bodies of requests.
[[nodiscard]] std::string authenticate_request(const std::string& user,
                                               const std::string& password);
[[nodiscard]] std::string grant_request(std::int64_t ttl_s);
/// Of keep-alive and of revoke.
[[nodiscard]] std::string lease_request(std::int64_t id);
[[nodiscard]] std::string put_request(std::string_view key, std::string_view value,
                                      std::int64_t lease);
/// By key; the first kKeysMax of them.
[[nodiscard]] std::string range_request(const KeyRange& keys);
/// The first `limit` of them, as they were at a revision; 0: as they are.
/// @param values  false: keys and revisions alone.
[[nodiscard]] std::string page_request(const KeyRange& keys, std::size_t limit, bool values,
                                       std::int64_t revision);
/// From the last key down.
/// @param values  false: keys and revisions alone.
[[nodiscard]] std::string latest_request(const KeyRange& keys, std::size_t limit, bool values);
/// Nothing but the number of those that begin with `prefix`.
[[nodiscard]] std::string count_request(std::string_view prefix);
/// The number of them, and the one that was written last, without its value.
[[nodiscard]] std::string newest_request(const KeyRange& keys);
[[nodiscard]] std::string watch_request(const KeyRange& keys, std::int64_t from_revision);
[[nodiscard]] std::string txn_request(const Txn& txn);

// Bodies of answers with status 200. Nothing: `fault` says in a few words what is wrong.
[[nodiscard]] std::optional<std::string> read_token(std::string_view body, std::string& fault);
[[nodiscard]] std::optional<Lease> read_grant(std::string_view body, std::string& fault);
/// @return the seconds that are left; 0: etcd knows no such lease.
[[nodiscard]] std::optional<std::int64_t> read_keep_alive(std::string_view body,
                                                          std::string& fault);
/// @return the revision of the store that the answer tells: of put, revoke, count.
[[nodiscard]] std::optional<std::int64_t> read_revision(std::string_view body, std::string& fault);
[[nodiscard]] std::optional<Listing> read_listing(std::string_view body, std::string& fault);
[[nodiscard]] std::optional<Newest> read_newest(std::string_view body, std::string& fault);
[[nodiscard]] std::optional<TxnAnswer> read_txn(std::string_view body, std::string& fault);
/// @param line  without its end.
[[nodiscard]] std::optional<WatchAnswer> read_watch_line(std::string_view line, std::string& fault);

/// What an answer with another status says, on one line; "" if nothing.
[[nodiscard]] std::string read_refusal(std::string_view body);
/// Whether that is about a lease that etcd does not know.
[[nodiscard]] bool is_lease_refusal(std::string_view refusal) noexcept;

}  // namespace mserve::cluster
