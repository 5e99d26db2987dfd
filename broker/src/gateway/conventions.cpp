// SPDX-License-Identifier: Apache-2.0
#include "gateway/conventions.hpp"

#include <optional>

#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::broker {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view kNotLbt = "not (id; query) or (id; query; options)";
constexpr std::string_view kNotNp = "not (query; callback)";
constexpr std::string_view kBadMessage = "badmsg";

constexpr auto kString = static_cast<std::int8_t>(kdb::Type::character);
constexpr auto kSymbolAtomType = static_cast<std::int8_t>(-static_cast<int>(kdb::Type::symbol));

constexpr bool is_integer_atom(std::int8_t type) noexcept {
  return type <= -static_cast<int>(kdb::Type::byte) &&
         type >= -static_cast<int>(kdb::Type::long_int);
}
constexpr bool is_query(std::int8_t type) noexcept {
  return type == kString || type == static_cast<std::int8_t>(kdb::Type::list);
}
constexpr bool is_callback(std::int8_t type) noexcept {
  return type == kString || type == kSymbolAtomType;
}
constexpr bool is_dict(std::int8_t type) noexcept {
  return type == static_cast<std::int8_t>(kdb::Type::dict) ||
         type == static_cast<std::int8_t>(kdb::Type::sorted_dict);
}

std::int8_t type_of(Bytes object) noexcept {
  return static_cast<std::int8_t>(object.front());
}

/// A general list, up to its first item.
struct ListHead {
  std::uint64_t count = 0;
  Bytes items;  // all that is there behind the count
};

/// Nothing when the object is no general list, or ends within the count.
std::optional<ListHead> list_head(Bytes object) noexcept {
  if (object.size() < 2 || type_of(object) != 0) {
    return std::nullopt;
  }
  const std::size_t width = (std::to_integer<unsigned>(object[1]) & 0x80U) != 0 ? 8 : 4;
  if (object.size() < 2 + width) {
    return std::nullopt;
  }
  ListHead head;
  for (std::size_t i = 0; i < width; ++i) {
    head.count |= std::to_integer<std::uint64_t>(object[2 + i]) << (8 * i);
  }
  head.items = object.subspan(2 + width);
  return head;
}

/// Size of the item at the front; 0 when it does not end within `items`.
std::size_t item_bytes(Bytes items) noexcept {
  const auto size = kdb::skip(items, kdb::kDepthMax - 1);
  return size ? *size : 0;
}

/// What the elements of an async message say, whatever the rules.
enum class Shape : std::uint8_t {
  lbt,
  np,        // a list first: nothing else reads so
  np_or_aw,  // a string first
  aw,
  unknown,  // too few bytes
};

/// @param found  gets the spans of what the shape is.
Shape shape_of(Bytes body, Classified& found) noexcept {
  const auto list = list_head(body);
  if (!list || (list->count != 2 && list->count != 3) || list->items.empty()) {
    return Shape::aw;
  }
  const std::int8_t first_type = type_of(list->items);
  const bool pair = list->count == 3;
  if (!is_integer_atom(first_type) && (pair || !is_query(first_type))) {
    return Shape::aw;
  }
  const std::size_t first_bytes = item_bytes(list->items);
  const Bytes first = list->items.first(first_bytes);
  const Bytes rest = list->items.subspan(first_bytes);
  if (first.empty() || rest.empty()) {
    return Shape::aw;  // not with a validated body
  }
  if (!is_integer_atom(first_type)) {
    if (!is_callback(type_of(rest))) {
      return Shape::aw;
    }
    found.query = first;
    found.callback = rest;
    return first_type == kString ? Shape::np_or_aw : Shape::np;
  }
  const std::size_t query_bytes = pair ? item_bytes(rest) : rest.size();
  const Bytes options = rest.subspan(query_bytes);
  if (pair && (options.empty() || !is_dict(type_of(options)))) {
    return Shape::aw;
  }
  found.id = first;
  found.query = rest.first(query_bytes);
  found.options = options;
  return Shape::lbt;
}

Convention settle(Shape shape, const ConventionRules& rules, History& history) noexcept {
  switch (shape) {
    case Shape::lbt:
      return Convention::lbt;
    case Shape::np_or_aw:
      return history.known ? history.last : rules.ambiguous;
    default:
      history.last = shape == Shape::np ? Convention::np : Convention::aw;
      history.known = true;
      return history.last;
  }
}

/// What `--protocol` makes of a shape; refused when it does not fit.
Convention fixed(Shape shape, Protocol protocol) noexcept {
  if (protocol == Protocol::lbt) {
    return shape == Shape::lbt ? Convention::lbt : Convention::refused;
  }
  if (protocol == Protocol::np) {
    return shape == Shape::np || shape == Shape::np_or_aw ? Convention::np : Convention::refused;
  }
  return Convention::aw;
}

Classified refusal(Convention as, std::string_view reason) noexcept {
  Classified classified;
  classified.convention = Convention::refused;
  classified.refused_as = as;
  classified.reason = reason;
  return classified;
}

Classified misfit(Protocol protocol) noexcept {
  return protocol == Protocol::lbt ? refusal(Convention::lbt, kNotLbt)
                                   : refusal(Convention::aw, kNotNp);
}

Classified of(Convention convention) noexcept {
  Classified classified;
  classified.convention = convention;
  return classified;
}

/// Responses and errors, which are no requests; nothing for what may be one.
std::optional<Classified> no_request(kdb::MessageKind kind, Bytes body) noexcept {
  const bool error = !body.empty() && type_of(body) == static_cast<std::int8_t>(kdb::Type::error);
  if (kind == kdb::MessageKind::sync) {
    return error ? std::optional(refusal(Convention::sync, kBadMessage)) : std::nullopt;
  }
  const bool ignored = error || kind == kdb::MessageKind::response;
  return ignored ? std::optional(of(Convention::ignored)) : std::nullopt;
}

bool is_empty_string(Bytes body) noexcept {
  if (body.size() < 6 || type_of(body) != kString) {
    return false;
  }
  const bool wide = (std::to_integer<unsigned>(body[1]) & 0x80U) != 0;
  return body.size() == (wide ? 10U : 6U);  // a whole object of this size has no characters
}

Classified classify_sync(Bytes body) noexcept {
  if (is_empty_string(body)) {
    return of(Convention::flush);
  }
  Classified classified = of(Convention::sync);
  classified.payload = body;
  classified.query = body;
  return classified;
}

/// What the first bytes of an async message say. np: it may be, only the whole can tell.
Shape shape_of_head(Bytes head, StreamHead& found) noexcept {
  if (!head.empty() && type_of(head) != 0) {
    return Shape::aw;
  }
  const auto list = list_head(head);
  if (list && list->count != 2 && list->count != 3) {
    return Shape::aw;
  }
  if (!list || list->items.empty()) {
    return Shape::unknown;
  }
  const std::int8_t first_type = type_of(list->items);
  const bool integer = is_integer_atom(first_type);
  found.pair = list->count == 3;
  if (!integer && (found.pair || !is_query(first_type))) {
    return Shape::aw;
  }
  const std::size_t first_bytes = item_bytes(list->items);
  const Bytes rest = list->items.subspan(first_bytes);
  if (first_bytes == 0 || rest.empty()) {
    return integer ? Shape::unknown : Shape::np;
  }
  if (!integer) {
    return is_callback(type_of(rest)) ? Shape::np : Shape::aw;
  }
  found.id = list->items.first(first_bytes);
  found.payload_offset = head.size() - rest.size();
  return Shape::lbt;
}

StreamHead of_head(const Classified& classified) noexcept {
  StreamHead head;
  head.convention = classified.convention;
  head.refused_as = classified.refused_as;
  head.reason = classified.reason;
  return head;
}

}  // namespace

Classified classify(kdb::MessageKind kind, Bytes body, const ConventionRules& rules,
                    History& history) noexcept {
  if (const auto other = no_request(kind, body)) {
    return *other;
  }
  if (kind == kdb::MessageKind::sync) {
    return classify_sync(body);
  }
  Classified classified;
  const Shape shape = shape_of(body, classified);
  const bool automatic = rules.protocol == Protocol::automatic;
  classified.convention = automatic ? settle(shape, rules, history) : fixed(shape, rules.protocol);
  classified.ambiguous = automatic && shape == Shape::np_or_aw;
  switch (classified.convention) {
    case Convention::refused:
      return misfit(rules.protocol);
    case Convention::lbt:
      classified.payload = {classified.query.data(),
                            classified.query.size() + classified.options.size()};
      break;
    case Convention::np:
      classified.payload = classified.query;
      break;
    default:  // aw: the spans of what else it could have been mean nothing
      classified.id = classified.callback = classified.options = {};
      classified.query = classified.payload = body;
      break;
  }
  return classified;
}

StreamHead classify_head(kdb::MessageKind kind, Bytes head, const ConventionRules& rules,
                         History& history) noexcept {
  if (const auto other = no_request(kind, head)) {
    return of_head(*other);
  }
  if (kind == kdb::MessageKind::sync) {
    return of_head(of(Convention::sync));
  }
  StreamHead found;
  const Shape shape = rules.protocol == Protocol::aw ? Shape::aw : shape_of_head(head, found);
  if (shape == Shape::unknown || (shape == Shape::np && rules.protocol != Protocol::lbt)) {
    found = {};
    found.gather = true;
    return found;
  }
  const Convention convention = rules.protocol == Protocol::automatic
                                    ? settle(shape, rules, history)
                                    : fixed(shape, rules.protocol);
  if (convention == Convention::refused) {
    return of_head(misfit(rules.protocol));
  }
  if (convention != Convention::lbt) {
    found = {};
  }
  found.convention = convention;
  return found;
}

}  // namespace mserve::broker
