// SPDX-License-Identifier: Apache-2.0
#include "cluster/broker_record.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <limits>
#include <set>

#include "cluster/cluster_options.hpp"
#include "cluster/json_fields.hpp"
#include "control/servant_tags.hpp"
#include "mserve/shm/names.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::int64_t kRecordFormat = 1;
constexpr std::size_t kVersionBytesMax = 31;
constexpr std::size_t kAddressBytesMax = kHostBytesMax + 8;

/// A name that may be empty; nothing: it is none.
std::optional<std::string> name_at(const json::object& in, std::string_view key) {
  const auto text = in.contains(key) ? text_at(in, key, kNameBytesMax) : std::string_view();
  if (!text || (!text->empty() && !valid_name(*text))) {
    return std::nullopt;
  }
  return std::string(*text);
}

std::optional<std::uint64_t> epoch_at(const json::object& in) {
  const auto text = text_at(in, "epoch", 20);
  std::uint64_t epoch = 0;
  if (!text) {
    return std::nullopt;
  }
  const auto [rest, error] = std::from_chars(text->data(), text->data() + text->size(), epoch);
  return error == std::errc{} && rest == text->data() + text->size() ? std::optional(epoch)
                                                                     : std::nullopt;
}

/// As many of the words as fit, with blanks between.
std::string joined(const std::set<std::string>& words, std::size_t bytes_max) {
  std::string text;
  for (const std::string& word : words) {
    if (text.size() + word.size() + 1 <= bytes_max) {
      text.append(text.empty() ? "" : " ").append(word);
    }
  }
  return text;
}

void add_words(std::string_view tags, std::set<std::string>& words) {
  while (!tags.empty()) {
    const std::size_t end = std::min(tags.find_first_of(" ,"), tags.size());
    const std::string_view word = tags.substr(0, end);
    if (!word.empty() && !word.starts_with("weight=") && !word.starts_with(broker::kLinkTag)) {
      words.emplace(word);
    }
    tags.remove_prefix(std::min(end + 1, tags.size()));
  }
}

bool read_group(const json::value& in, ServantGroup& out) {
  const json::object* const group = in.if_object();
  if (group == nullptr) {
    return false;
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
  const auto tags = text_at(*group, "tags", kTagsBytesMax);
  const auto free = count_at(*group, "free");
  const auto busy = count_at(*group, "busy");
  if (!tags || !printable(*tags) || !free || !busy || *free > kMost || *busy > kMost) {
    return false;
  }
  out = {.tags = servant_tags(*tags),
         .free = static_cast<std::uint32_t>(*free),
         .busy = static_cast<std::uint32_t>(*busy)};
  return true;
}

bool read_groups(const json::object& in, std::vector<ServantGroup>& out) {
  const json::array* const all = array_at(in, "servants");
  if (all == nullptr || all->size() > kServantGroupsMax) {
    return false;
  }
  return std::all_of(all->begin(), all->end(), [&out](const json::value& one) {
    return read_group(one, out.emplace_back());
  });
}

std::optional<DocumentStanding> standing_of(const json::object& in, bool& good) {
  const json::object* const document = object_at(in, "document");
  if (document == nullptr) {
    return std::nullopt;
  }
  const auto fault = text_at(*document, "fault", kFaultBytesMax);
  const auto version = count_at(*document, "version");
  good = version.has_value() && fault && printable(*fault);
  return DocumentStanding{.version = version.value_or(0),
                          .refused = count_at(*document, "refused").value_or(0),
                          .fault = std::string(fault.value_or(""))};
}

}  // namespace

std::string brokers_prefix(const std::string& cluster) {
  return "/mserve/" + cluster + "/brokers/";
}

std::string broker_key(const std::string& cluster, const std::string& id) {
  return brokers_prefix(cluster) + id;
}

std::string document_key(const std::string& cluster) {
  return "/mserve/" + cluster + "/document";
}

KeyRange watched_keys(const std::string& cluster) {
  // Nothing else of ours is between them; the former versions of the document are behind it.
  return {.from = brokers_prefix(cluster), .end = only_key(document_key(cluster)).end};
}

json::object standing_json(const DocumentStanding& standing) {
  return {{"version", standing.version}, {"refused", standing.refused}, {"fault", standing.fault}};
}

std::string to_json(const BrokerRecord& record) {
  json::array servants;
  for (const ServantGroup& group : record.servants) {
    servants.push_back(
        json::object{{"tags", group.tags}, {"free", group.free}, {"busy", group.busy}});
  }
  // The epoch as text: not every reader of JSON keeps 64 bits of a number.
  json::object all{{"format", kRecordFormat},
                   {"id", record.id},
                   {"address", record.address},
                   {"zone", record.zone},
                   {"region", record.region},
                   {"version", record.version},
                   {"state", record.state()},
                   {"epoch", std::to_string(record.epoch)},
                   {"servants", std::move(servants)},
                   {"queued", record.queued},
                   {"queue_age_ms", record.queue_age_ms},
                   {"load", record.load}};
  if (record.document) {
    all["document"] = standing_json(*record.document);
  }
  return json::serialize(all);
}

std::optional<BrokerRecord> read_record(std::string_view text, std::string_view id,
                                        std::string& fault) {
  const auto refuse = [&fault](const char* why) -> std::optional<BrokerRecord> {
    fault = why;
    return std::nullopt;
  };
  json::value root;
  if (!valid_name(id)) {
    return refuse("the key ends in no name of a broker");
  }
  if (!parse_object(text, kValueBytesMax, root)) {
    return refuse("the value is no JSON object of at most 16 KiB");
  }
  const json::object& in = root.get_object();
  if (count_at(in, "format") != kRecordFormat) {
    return refuse("format is not 1: that broker is newer than this one");
  }
  if (text_at(in, "id", kNameBytesMax) != id) {
    return refuse("id is not what the key says");
  }
  const auto address = text_at(in, "address", kAddressBytesMax);
  if (!address || !valid_address(*address)) {
    return refuse("address is not HOST:PORT");
  }
  const auto zone = name_at(in, "zone");
  const auto region = name_at(in, "region");
  if (!zone || !region) {
    return refuse("zone or region is no name");
  }
  const auto version = text_at(in, "version", kVersionBytesMax);
  const auto epoch = epoch_at(in);
  if (!version || !printable(*version) || !epoch) {
    return refuse("version or epoch is none");
  }
  const auto state = text_at(in, "state", 16);
  if (state != "serving" && state != "draining") {
    return refuse("state is neither serving nor draining");
  }
  const auto queued = count_at(in, "queued");
  const auto queue_age = count_at(in, "queue_age_ms");
  const auto load = real_at(in, "load");
  if (!queued || !queue_age || !load || *load < 0 || *load > 1) {
    return refuse("queued, queue_age_ms or load is no such number");
  }
  BrokerRecord record{.id = std::string(id),
                      .address = std::string(*address),
                      .zone = *zone,
                      .region = *region,
                      .version = std::string(*version),
                      .draining = state == "draining",
                      .epoch = *epoch,
                      .queued = static_cast<std::uint64_t>(*queued),
                      .queue_age_ms = static_cast<std::uint64_t>(*queue_age),
                      .load = *load};
  if (!read_groups(in, record.servants)) {
    return refuse("servants is no list of at most 48 tags with numbers");
  }
  bool good = true;
  record.document = standing_of(in, good);
  if (!good) {
    return refuse("document has no version, or no printable fault of at most 600 bytes");
  }
  return record;
}

bool same_broker(std::string_view one, std::string_view other, std::string_view id) {
  std::string fault;
  const auto a = read_record(one, id, fault);
  const auto b = read_record(other, id, fault);
  return a && b && (a->address == b->address || a->epoch == b->epoch);
}

std::string servant_tags(std::string_view tags) {
  std::set<std::string> words;
  add_words(tags, words);
  return joined(words, std::string::npos);
}

std::string all_tags(const BrokerRecord& record, std::size_t bytes_max) {
  std::set<std::string> words;
  for (const ServantGroup& group : record.servants) {
    add_words(group.tags, words);
  }
  return joined(words, bytes_max);
}

}  // namespace mserve::cluster
