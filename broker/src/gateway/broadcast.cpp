// SPDX-License-Identifier: Apache-2.0
#include "gateway/broadcast.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "control/servant_tags.hpp"
#include "gateway/admin_call.hpp"
#include "gateway/object_writer.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::broker {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view kName = ".mserve.broadcast";
/// A table, its dictionary, its columns, and the one with the results.
constexpr std::size_t kTableDepth = 4;

constexpr auto kCharacter = static_cast<std::int8_t>(kdb::Type::character);
constexpr auto kSymbol = static_cast<std::int8_t>(kdb::Type::symbol);
constexpr std::int8_t kGeneralList = 0;

/// What kdb+ clients ask with; and the string of one character, which q has as an atom.
constexpr bool can_be_asked(std::int8_t type) noexcept {
  return type == kCharacter || type == -kCharacter || type == kGeneralList || type == kSymbol;
}

/// Behind the name the text may go on, but not the name.
bool calls_broadcast(std::string_view text) noexcept {
  constexpr std::string_view kInNames =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  text.remove_prefix(std::min(first, text.size()));
  if (!text.starts_with(kName)) {
    return false;
  }
  text.remove_prefix(kName.size());
  return text.empty() || kInNames.find(text.front()) == std::string_view::npos;
}

/// The group that a symbol means.
std::string group_of(std::string_view symbol) {
  return symbol == "all" ? std::string() : std::string(symbol);
}

BroadcastCall faulty(std::string_view fault) {
  BroadcastCall call;
  call.fault = fault;
  return call;
}

/// (name; group; query)
BroadcastCall call_in_list(kdb::ListReader list, std::uint64_t query_bytes_max) {
  (void)list.next();
  const auto group = list.next();
  const auto query = list.next();
  if (list.count() != 3 || !group || !query) {
    return faulty("rank");
  }
  // All symbols: then the query is one, which is no query.
  if (group->type != -kSymbol || query->in_vector || !can_be_asked(query->type)) {
    return faulty("type");
  }
  if (query->bytes.size() > query_bytes_max) {
    return faulty("limit");
  }
  return {group_of(group->text()), {query->bytes.begin(), query->bytes.end()}, {}};
}

/// .mserve.broadcast[`group; query]
BroadcastCall call_in_text(Bytes object, std::uint64_t query_bytes_max) {
  const auto parsed = kdb::call_of(object);
  if (!parsed) {
    return faulty(parsed.error().error.code == kdb::Errc::text_too_long ? "limit"
                                                                        : "literal arguments only");
  }
  if (parsed->arguments.size() != 2) {
    return faulty("rank");
  }
  const kdb::Value& group = parsed->arguments[0];
  const kdb::Value& query = parsed->arguments[1];
  if (group.type_code() != -kSymbol || !can_be_asked(query.type_code())) {
    return faulty("type");
  }
  if (kdb::encoded_size(query) > query_bytes_max) {
    return faulty("limit");
  }
  return {group_of(group.text_view().value_or("")), kdb::encode(query), {}};
}

bool is_list(Bytes object) noexcept {
  const auto type = static_cast<std::int8_t>(object.front());
  return type == kGeneralList || type == kSymbol;
}

}  // namespace

bool names_broadcast(Bytes head) noexcept {
  if (!may_be_admin_call(head)) {
    return false;
  }
  if (is_list(head)) {
    auto list = kdb::ListReader::open(head);
    const auto name = list ? list->next() : std::nullopt;
    return name && name->text() == kName;
  }
  // A string or a symbol; where it ends does not matter.
  const bool wide = head.size() > 1 && (std::to_integer<unsigned>(head[1]) & 0x80U) != 0;
  const bool is_text = static_cast<std::int8_t>(head.front()) == kCharacter;
  const std::size_t offset = !is_text ? 1 : wide ? kListHeadBytes + 4 : kListHeadBytes;
  const Bytes text = head.subspan(std::min(offset, head.size()));
  return calls_broadcast({reinterpret_cast<const char*>(text.data()), text.size()});
}

std::optional<BroadcastCall> parse_broadcast_call(Bytes query, std::uint64_t query_bytes_max) {
  if (!names_broadcast(query)) {
    return std::nullopt;
  }
  if (!is_list(query)) {
    return call_in_text(query, query_bytes_max);
  }
  const auto list = kdb::ListReader::open(query);
  return list ? std::optional(call_in_list(*list, query_bytes_max)) : std::nullopt;
}

std::vector<SessionRow> broadcast_targets(std::span<const SessionRow> sessions,
                                          std::string_view group) {
  const std::string word = "group=" + std::string(group);
  std::vector<SessionRow> targets;
  std::copy_if(
      sessions.begin(), sessions.end(), std::back_inserter(targets), [&](const SessionRow& row) {
        return row.servant && !is_link(row.tags) && (group.empty() || has_tag(row.tags, word));
      });
  std::sort(targets.begin(), targets.end(),
            [](const SessionRow& a, const SessionRow& b) { return a.number < b.number; });
  return targets;
}

BroadcastTable::BroadcastTable(std::span<const SessionRow> servants,
                               std::uint64_t results_bytes_max)
    : missing_(servants.size()), bytes_max_(results_bytes_max) {
  rows_.reserve(servants.size());
  for (const SessionRow& servant : servants) {
    rows_.push_back({.name = servant.name, .object = {}});
  }
}

bool BroadcastTable::reserve(std::size_t row, std::uint64_t bytes) noexcept {
  if (bytes > bytes_max_ - std::min(bytes_max_, bytes_ + reserved_bytes_)) {
    return false;
  }
  rows_[row].reserved_bytes = bytes;
  reserved_bytes_ += bytes;
  return true;
}

void BroadcastTable::set_result(std::size_t row, Bytes object) {
  if (kdb::skip(object, kdb::kDepthMax - kTableDepth)) {
    set(row, true, object);
  } else {
    set_error(row, "limit");
  }
}

void BroadcastTable::set_error(std::size_t row, std::string_view text) {
  set(row, false, kdb::encode(kdb::Value::chars(std::string(text))));
}

void BroadcastTable::set(std::size_t row, bool ok, Bytes object) {
  static const std::vector<std::byte> kLimit = kdb::encode(kdb::Value::chars("limit"));
  Row& set = rows_[row];
  reserved_bytes_ -= std::exchange(set.reserved_bytes, 0);
  const bool fits = reserve(row, object.size());
  reserved_bytes_ -= std::exchange(set.reserved_bytes, 0);
  set.ok = ok && fits;
  const Bytes kept = fits ? object : Bytes(kLimit);
  set.object.assign(kept.begin(), kept.end());
  bytes_ += set.object.size();
  --missing_;
}

std::vector<std::byte> BroadcastTable::encoded() const {
  std::vector<std::string> names;
  std::vector<std::uint8_t> oks;
  for (const Row& row : rows_) {
    names.push_back(row.name);
    oks.push_back(row.ok ? 1 : 0);
  }
  const std::vector<std::byte> heads[] = {
      kdb::encode(kdb::Value::symbols({"servant", "ok", "result"})),
      kdb::encode(kdb::Value::symbols(std::move(names))),
      kdb::encode(kdb::Value::booleans(std::move(oks)))};
  constexpr std::size_t kTableHeadBytes = 3;  // table, its attribute, dictionary
  std::size_t bytes = kTableHeadBytes + 2 * kListHeadBytes + static_cast<std::size_t>(bytes_);
  for (const std::vector<std::byte>& head : heads) {
    bytes += head.size();
  }
  std::vector<std::byte> table(bytes);
  ObjectWriter writer(table);
  writer.byte(type_byte(static_cast<int>(kdb::Type::table)));
  writer.byte(std::byte{0});
  writer.byte(kDict);
  writer.bytes(heads[0]);
  writer.vector_head(kList, 3);
  writer.bytes(heads[1]);
  writer.bytes(heads[2]);
  writer.vector_head(kList, static_cast<std::uint32_t>(rows_.size()));
  for (const Row& row : rows_) {
    writer.bytes(row.object);
  }
  return table;
}

}  // namespace mserve::broker
