// SPDX-License-Identifier: Apache-2.0
#include "cluster/etcd_messages.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "cluster/base64.hpp"
#include "cluster/json_fields.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::size_t kTokenBytesMax = 4096;
constexpr std::size_t kReasonBytesMax = 4096;  // before it is cut for the log

std::string written(const json::object& object) {
  return json::serialize(object);
}

/// Where the keys that begin with a prefix end.
std::string end_of(std::string_view prefix) {
  std::string end(prefix);
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

json::object range_of(const KeyRange& keys) {
  return {{"key", to_base64(keys.from)}, {"range_end", to_base64(keys.end)}};
}

/// By key or by revision (`target`), from the last one down.
std::string last_request(const KeyRange& keys, const char* target, std::size_t limit, bool values) {
  json::object range = range_of(keys);
  range["limit"] = std::to_string(limit);
  range["sort_order"] = "DESCEND";
  range["sort_target"] = target;
  range["keys_only"] = !values;
  return written(range);
}

/// An answer, or the `result` of a streamed one.
const json::object* opened(std::string_view body, bool streamed, json::value& root,
                           std::string& fault) {
  if (!parse_object(body, kAnswerBytesMax, root)) {
    fault = "no JSON object of a bearable size";
    return nullptr;
  }
  if (!streamed) {
    return &root.get_object();
  }
  if (const json::object* const error = object_at(root.get_object(), "error")) {
    fault = "etcd says: " + shown(text_at(*error, "message", kReasonBytesMax).value_or("?"));
    return nullptr;
  }
  const json::object* const result = object_at(root.get_object(), "result");
  if (result == nullptr) {
    fault = "there is no result in it";
  }
  return result;
}

/// The store's revision, which each answer tells; 0: none.
std::int64_t revision_of(const json::object& answer) {
  const json::object* const header = object_at(answer, "header");
  return header != nullptr ? count_at(*header, "revision").value_or(0) : 0;
}

const json::object* opened_with_revision(std::string_view body, json::value& root,
                                         std::string& fault) {
  const json::object* const answer = opened(body, false, root, fault);
  if (answer != nullptr && revision_of(*answer) == 0) {
    fault = "there is no revision in it";
    return nullptr;
  }
  return answer;
}

enum class Read : std::uint8_t {
  done,
  skipped,  // Fit for etcd and not for us: its writer's fault. Only mod_revision is read.
  failed,   // No answer of etcd's is like that.
};

Read read_key_value(const json::object& in, KeyValue& out) {
  out.mod_revision = count_at(in, "mod_revision").value_or(0);
  const auto key = text_at(in, "key", kAnswerBytesMax);
  if (!key || key->empty() || out.mod_revision == 0) {
    return Read::failed;
  }
  // Base64: three bytes are four characters.
  if (key->size() > (kKeyBytesMax + 2) / 3 * 4) {
    return Read::skipped;
  }
  auto bytes = from_base64(*key, kKeyBytesMax + 2);
  if (!bytes) {
    return Read::failed;
  }
  if (bytes->size() > kKeyBytesMax) {
    return Read::skipped;
  }
  out.key = std::move(*bytes);
  // One bad value is its writer's fault, and not that of the whole answer.
  const auto value = text_at(in, "value", kStoredBytesMax * 2);
  out.value = value ? from_base64(*value, kStoredBytesMax).value_or("") : "";
  out.lease = count_at(in, "lease").value_or(0);
  return Read::done;
}

Read read_event(const json::value& in, WatchEvent& out) {
  const json::object* const event = in.if_object();
  const json::object* const kv = event != nullptr ? object_at(*event, "kv") : nullptr;
  if (kv == nullptr) {
    return Read::failed;
  }
  const std::string_view type = text_at(*event, "type", 16).value_or("PUT");
  out.removed = type == "DELETE";
  return out.removed || type == "PUT" ? read_key_value(*kv, out.kv) : Read::failed;
}

}  // namespace

std::string authenticate_request(const std::string& user, const std::string& password) {
  return written({{"name", user}, {"password", password}});
}

std::string grant_request(std::int64_t ttl_s) {
  return written({{"TTL", std::to_string(ttl_s)}});
}

std::string lease_request(std::int64_t id) {
  return written({{"ID", std::to_string(id)}});
}

std::string put_request(std::string_view key, std::string_view value, std::int64_t lease) {
  return written(
      {{"key", to_base64(key)}, {"value", to_base64(value)}, {"lease", std::to_string(lease)}});
}

KeyRange keys_below(std::string_view prefix) {
  return {.from = std::string(prefix), .end = end_of(prefix)};
}

KeyRange only_key(std::string_view key) {
  return {.from = std::string(key), .end = std::string(key) + '\0'};
}

std::string range_request(const KeyRange& keys) {
  json::object range = range_of(keys);
  range["limit"] = std::to_string(kKeysMax);
  return written(range);
}

std::string page_request(const KeyRange& keys, std::size_t limit, bool values,
                         std::int64_t revision) {
  json::object range = range_of(keys);
  range["limit"] = std::to_string(limit);
  range["revision"] = std::to_string(revision);
  range["keys_only"] = !values;
  return written(range);
}

std::string latest_request(const KeyRange& keys, std::size_t limit, bool values) {
  return last_request(keys, "KEY", limit, values);
}

std::string count_request(std::string_view prefix) {
  json::object range = range_of(keys_below(prefix));
  range["count_only"] = true;
  return written(range);
}

std::string newest_request(const KeyRange& keys) {
  return last_request(keys, "MOD", 1, false);
}

std::string watch_request(const KeyRange& keys, std::int64_t from_revision) {
  json::object range = range_of(keys);
  range["start_revision"] = std::to_string(from_revision);
  return written({{"create_request", std::move(range)}});
}

std::string txn_request(const Txn& txn) {
  json::array success;
  for (const auto& [key, value] : txn.puts) {
    success.push_back(json::object{
        {"request_put", json::object{{"key", to_base64(key)}, {"value", to_base64(value)}}}});
  }
  success.push_back(json::object{{"request_delete_range", range_of(txn.removed)}});
  json::array compare{json::object{{"key", to_base64(txn.key)},
                                   {"target", "MOD"},
                                   {"result", "EQUAL"},
                                   {"mod_revision", std::to_string(txn.mod_revision)}}};
  json::array failure{json::object{{"request_range", json::object{{"key", to_base64(txn.key)}}}}};
  return written({{"compare", std::move(compare)},
                  {"success", std::move(success)},
                  {"failure", std::move(failure)}});
}

std::optional<std::string> read_token(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened(body, false, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  const auto token = text_at(*answer, "token", kTokenBytesMax);
  // It becomes a header.
  if (!token || token->empty() || shown(*token, kTokenBytesMax) != *token) {
    fault = "there is no token in it";
    return std::nullopt;
  }
  return std::string(*token);
}

std::optional<Lease> read_grant(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened(body, false, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  const Lease lease{.id = count_at(*answer, "ID").value_or(0),
                    .ttl_s = count_at(*answer, "TTL").value_or(0)};
  constexpr std::int64_t kTtlMax = 365LL * 86400;
  if (lease.id == 0 || lease.ttl_s < 1 || lease.ttl_s > kTtlMax) {
    fault = "there is no lease in it";
    return std::nullopt;
  }
  return lease;
}

std::optional<std::int64_t> read_keep_alive(std::string_view body, std::string& fault) {
  json::value root;
  // Streamed: of several lines the first one answers the one question.
  const json::object* const answer = opened(body.substr(0, body.find('\n')), true, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  return count_at(*answer, "TTL").value_or(0);
}

std::optional<std::int64_t> read_revision(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened_with_revision(body, root, fault);
  return answer != nullptr ? std::optional(revision_of(*answer)) : std::nullopt;
}

std::optional<Listing> read_listing(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened_with_revision(body, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  Listing listing{.revision = revision_of(*answer),
                  .more = flag_at(*answer, "more"),
                  .count = count_at(*answer, "count").value_or(0)};
  const json::array* const all = array_at(*answer, "kvs");
  if (all == nullptr) {
    return listing;
  }
  if (all->size() > kKeysMax) {
    fault = "more keys than were asked for";
    return std::nullopt;
  }
  for (const json::value& one : *all) {
    const json::object* const kv = one.if_object();
    KeyValue read;
    const Read how = kv != nullptr ? read_key_value(*kv, read) : Read::failed;
    if (how == Read::failed) {
      fault = "a key is none";
      return std::nullopt;
    }
    if (how == Read::skipped) {
      ++listing.skipped;
    } else {
      listing.all.push_back(std::move(read));
    }
  }
  if (listing.more) {
    const json::object* const last = all->empty() ? nullptr : all->back().if_object();
    const auto key = last != nullptr ? text_at(*last, "key", kAnswerBytesMax) : std::nullopt;
    auto bytes = key ? from_base64(*key, kAnswerBytesMax) : std::nullopt;
    if (!bytes) {
      fault = "there is more, behind no key";
      return std::nullopt;
    }
    listing.last = std::move(*bytes);
  }
  return listing;
}

std::optional<Newest> read_newest(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened_with_revision(body, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  Newest newest{.count = count_at(*answer, "count").value_or(0), .store = revision_of(*answer)};
  const json::array* const all = array_at(*answer, "kvs");
  if (all != nullptr && !all->empty()) {
    const json::object* const kv = all->front().if_object();
    newest.revision = kv != nullptr ? count_at(*kv, "mod_revision").value_or(0) : 0;
    if (newest.revision == 0) {
      fault = "a key is none";
      return std::nullopt;
    }
  }
  return newest;
}

std::optional<TxnAnswer> read_txn(std::string_view body, std::string& fault) {
  json::value root;
  const json::object* const answer = opened_with_revision(body, root, fault);
  if (answer == nullptr) {
    return std::nullopt;
  }
  TxnAnswer result{.succeeded = flag_at(*answer, "succeeded"), .revision = revision_of(*answer)};
  if (result.succeeded) {
    return result;
  }
  // There was one question in case of a failure, so there is one answer.
  const json::array* const responses = array_at(*answer, "responses");
  const json::object* const first =
      responses != nullptr && responses->size() == 1 ? responses->front().if_object() : nullptr;
  const json::object* const range =
      first != nullptr ? object_at(*first, "response_range") : nullptr;
  if (range == nullptr) {
    fault = "there is no key in what was not done";
    return std::nullopt;
  }
  const json::array* const kvs = array_at(*range, "kvs");
  if (kvs != nullptr && !kvs->empty()) {
    const json::object* const kv = kvs->front().if_object();
    if (kv == nullptr || read_key_value(*kv, result.found.emplace()) != Read::done) {
      fault = "a key is none";
      return std::nullopt;
    }
  }
  return result;
}

std::optional<WatchAnswer> read_watch_line(std::string_view line, std::string& fault) {
  json::value root;
  const json::object* const result = opened(line, true, root, fault);
  if (result == nullptr) {
    return std::nullopt;
  }
  WatchAnswer answer{.created = flag_at(*result, "created"),
                     .canceled = flag_at(*result, "canceled"),
                     .compact_revision = count_at(*result, "compact_revision").value_or(0),
                     .revision = revision_of(*result)};
  answer.reason = shown(text_at(*result, "cancel_reason", kReasonBytesMax).value_or(""));
  const json::array* const events = array_at(*result, "events");
  for (std::size_t i = 0; events != nullptr && i < events->size(); ++i) {
    WatchEvent read;
    const Read how = read_event((*events)[i], read);
    if (how == Read::failed) {
      fault = "an event is none";
      return std::nullopt;
    }
    answer.newest = std::max(answer.newest, read.kv.mod_revision);
    if (how == Read::skipped) {
      ++answer.skipped;
    } else {
      answer.events.push_back(std::move(read));
    }
  }
  return answer;
}

std::string read_refusal(std::string_view body) {
  json::value root;
  if (!parse_object(body, kAnswerBytesMax, root)) {
    return shown(body);
  }
  const json::object& answer = root.get_object();
  for (const char* const key : {"message", "error"}) {
    if (const auto text = text_at(answer, key, kReasonBytesMax)) {
      return shown(*text);
    }
  }
  const json::object* const error = object_at(answer, "error");
  return error != nullptr ? shown(text_at(*error, "message", kReasonBytesMax).value_or("")) : "";
}

bool is_lease_refusal(std::string_view refusal) noexcept {
  return refusal.find("requested lease not found") != std::string_view::npos;
}

}  // namespace mserve::cluster
