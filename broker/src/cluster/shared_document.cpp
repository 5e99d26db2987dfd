// SPDX-License-Identifier: Apache-2.0
#include "cluster/shared_document.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "cluster/broker_record.hpp"
#include "cluster/json_fields.hpp"
#include "document.hpp"
#include "mserve/shm/names.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::int64_t kDocumentFormat = 1;
constexpr std::string_view kFileMark = "# mserve document ";
constexpr std::size_t kVersionDigits = 10;

std::string history_prefix(const std::string& cluster) {
  return document_key(cluster) + "s/";
}

json::object head_object(const Document& document) {
  return {{"format", kDocumentFormat},
          {"version", document.version},
          {"by", document.by},
          {"at", document.at},
          {"note", document.note}};
}

/// FNV-1a, 64 bit: that somebody edited a text shows, unless he looks for one where it does not.
std::string digest_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return std::to_string(hash);
}

/// All but the text.
std::optional<Document> read_head(std::string_view line, std::string& fault) {
  json::value root;
  if (!parse_object(line, kHeadBytesMax, root)) {
    fault = "its first line is no JSON object";
    return std::nullopt;
  }
  const json::object& in = root.get_object();
  if (count_at(in, "format") != kDocumentFormat) {
    fault = "its format is not 1: whoever wrote it is newer than this one";
    return std::nullopt;
  }
  const auto version = count_at(in, "version");
  const auto at = count_at(in, "at");
  const auto by = text_at(in, "by", kAuthorBytesMax);
  const auto note = text_at(in, "note", kNoteBytesMax);
  if (!version || *version < 1 || *version > kVersionMax || !at || !by || !printable(*by) ||
      !note || !printable(*note)) {
    fault = "its version, by, at or note is none";
    return std::nullopt;
  }
  return Document{
      .version = *version, .at = *at, .by = std::string(*by), .note = std::string(*note)};
}

}  // namespace

std::string Document::name() const {
  return "version " + std::to_string(version) + " by " + by;
}

KeyRange history_keys(const std::string& cluster) {
  return keys_below(history_prefix(cluster));
}

std::string history_key(const std::string& cluster, std::int64_t version) {
  const std::string digits = std::to_string(std::clamp<std::int64_t>(version, 0, kVersionMax));
  return history_prefix(cluster) + std::string(kVersionDigits - digits.size(), '0') + digits;
}

std::int64_t version_of(const std::string& cluster, std::string_view key) {
  const std::string prefix = history_prefix(cluster);
  if (!key.starts_with(prefix) || key.size() != prefix.size() + kVersionDigits) {
    return 0;
  }
  key.remove_prefix(prefix.size());
  std::int64_t version = 0;
  const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), version);
  return error == std::errc{} && rest == key.data() + key.size() && version > 0 ? version : 0;
}

std::string to_value(const Document& document) {
  return json::serialize(head_object(document)) + "\n" + document.text;
}

std::optional<Document> read_document(std::string_view value, std::string& fault) {
  const std::size_t end = value.find('\n');
  if (end == std::string_view::npos) {
    fault = value.empty() ? "it is empty, or longer than 260 KiB" : "it is no line with a text";
    return std::nullopt;
  }
  const std::string_view text = value.substr(end + 1);
  if (text.size() > kDocumentBytesMax) {
    fault = "it is longer than 256 KiB";
    return std::nullopt;
  }
  if (const std::uint32_t line = broker::line_without_utf8(text); line != 0) {
    fault = "line " + std::to_string(line) + " of its text is not valid UTF-8";
    return std::nullopt;
  }
  auto document = read_head(value.substr(0, end), fault);
  if (document) {
    document->text = text;
  }
  return document;
}

std::string to_file(const Document& document) {
  std::string file = document.text;
  if (!file.empty() && file.back() != '\n') {
    file += '\n';
  }
  json::object head = head_object(document);
  head["digest"] = digest_of(file);
  return file.append(kFileMark).append(json::serialize(head)).append("\n");
}

Document from_file(std::string_view file) {
  const std::size_t mark = file.rfind(kFileMark);
  if (mark != std::string_view::npos && (mark == 0 || file[mark - 1] == '\n') &&
      file.ends_with('\n')) {
    std::string ignored;
    std::string_view head = file.substr(mark + kFileMark.size());
    head.remove_suffix(1);
    const std::string_view text = file.substr(0, mark);
    json::value root;
    auto document =
        head.find('\n') == std::string_view::npos ? read_head(head, ignored) : std::nullopt;
    if (document && parse_object(head, kHeadBytesMax, root) &&
        text_at(root.get_object(), "digest", kHeadBytesMax) == digest_of(text)) {
      document->text = text;
      return *document;
    }
  }
  return {.text = std::string(file)};
}

NextVersion next_version(const std::string& cluster, std::int64_t current, const Listing& kept) {
  NextVersion next{.version = current + 1};
  std::vector<std::int64_t> versions;
  for (const KeyValue& kv : kept.all) {
    const std::int64_t version = version_of(cluster, kv.key);
    if (version == 0 || (current != 0 && version > current)) {
      next.stray = kv.key;
    } else {
      versions.push_back(version);
    }
  }
  if (current != 0) {
    return next;
  }
  std::sort(versions.begin(), versions.end());
  std::size_t longest = 0;
  for (std::size_t from = 0, at = 0; at < versions.size(); ++at) {
    if (at != 0 && versions[at] != versions[at - 1] + 1) {
      from = at;
    }
    if (at - from + 1 > longest && versions[at] <= kVersionBelieved) {
      longest = at - from + 1;
      next.version = versions[at] + 1;
    }
  }
  if (!versions.empty() && versions.back() >= next.version) {
    next.stray = history_key(cluster, versions.back());
  }
  return next;
}

Txn write_txn(const std::string& cluster, const Document& document, std::int64_t revision) {
  const std::string value = to_value(document);
  return {.key = document_key(cluster),
          .mod_revision = revision,
          .puts = {{document_key(cluster), value}, {history_key(cluster, document.version), value}},
          .removed = {.from = history_key(cluster, 0),
                      .end = history_key(cluster, std::max<std::int64_t>(
                                                      document.version - kVersionsKept + 1, 1))}};
}

DocumentWatch::DocumentWatch(const std::string& cluster) : key_(document_key(cluster)) {}

bool DocumentWatch::listed(const Listing& all) {
  const auto found = std::find_if(all.all.begin(), all.all.end(),
                                  [this](const KeyValue& kv) { return kv.key == key_; });
  if (found != all.all.end()) {
    // A store that was set back tells older revisions, or other contents of the same one, and is
    // right all the same.
    return (!known_ || found->mod_revision != revision_ || found->value != value_) && put(*found);
  }
  return gone();
}

bool DocumentWatch::told(const WatchEvent& event) {
  if (event.kv.key != key_ || event.kv.mod_revision <= revision_) {
    return false;
  }
  return event.removed ? gone() : put(event.kv);
}

bool DocumentWatch::put(const KeyValue& kv) {
  known_ = true;
  revision_ = kv.mod_revision;
  value_ = kv.value;
  fault_.clear();
  auto document = read_document(kv.value, fault_);
  if (document) {
    document_ = std::move(*document);
  }
  return true;
}

bool DocumentWatch::gone() {
  const bool news = !known_ || revision_ != 0;
  known_ = true;
  revision_ = 0;
  value_.clear();
  fault_.clear();
  document_ = {};
  return news;
}

}  // namespace mserve::cluster
