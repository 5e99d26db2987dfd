// SPDX-License-Identifier: Apache-2.0
// The info dictionary of LBT's answers.
#include <algorithm>
#include <array>
#include <cstring>

#include "gateway/answer.hpp"
#include "gateway/object_writer.hpp"
#include "mserve/kdb/skip.hpp"

namespace mserve::broker {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::array<std::string_view, 6> kInfoKeys = {"qsvr",  "elapsed", "execution",
                                                       "route", "backlog", "remaining"};
constexpr std::array<std::string_view, 3> kStampKeys = {"received", "sent", "returned"};
constexpr std::string_view kStatusKey = "mserve_status";
using Keys = std::span<const std::string_view>;

/// Those that are ours in one info.
class OurKeys {
 public:
  OurKeys(bool stamps, bool status) noexcept {
    add(kInfoKeys);
    if (stamps) {
      add(kStampKeys);
    }
    if (status) {
      add(Keys(&kStatusKey, 1));
    }
  }
  [[nodiscard]] Keys all() const noexcept { return Keys(keys_).first(count_); }

 private:
  void add(Keys keys) noexcept {
    std::copy(keys.begin(), keys.end(), keys_.begin() + static_cast<std::ptrdiff_t>(count_));
    count_ += keys.size();
  }

  std::array<std::string_view, kInfoKeys.size() + kStampKeys.size() + 1> keys_;
  std::size_t count_ = 0;
};

std::size_t symbols_bytes(Keys texts) noexcept {
  std::size_t bytes = texts.size();
  for (const std::string_view text : texts) {
    bytes += text.size();
  }
  return bytes;
}

/// Walks the values of a dictionary: items of a list, or of a vector as the atoms that they are.
class ValueReader {
 public:
  /// @param object  a well-formed vector or list. @return nothing when it is neither.
  static std::optional<ValueReader> open(Bytes object) noexcept {
    const auto type = static_cast<std::int8_t>(object.front());
    ValueReader reader;
    if (type == 0 || type == static_cast<std::int8_t>(kdb::Type::symbol)) {
      const auto list = kdb::ListReader::open(object);
      if (!list) {
        return std::nullopt;
      }
      reader.list_ = *list;
      reader.symbols_ = type != 0;
      return reader;
    }
    if (!kdb::is_vector_type(type)) {
      return std::nullopt;
    }
    const bool wide = (std::to_integer<unsigned>(object[1]) & 0x80U) != 0;
    reader.rest_ = object.subspan(wide ? 10 : 6);
    reader.width_ = kdb::item_bytes(static_cast<kdb::Type>(type));
    reader.atom_type_ = type_byte(-type);
    return reader;
  }

  /// One value: a type byte if the bytes have none of their own, and the bytes.
  struct Item {
    std::optional<std::byte> type;
    Bytes bytes;
    [[nodiscard]] std::size_t size() const noexcept { return bytes.size() + (type ? 1 : 0); }
  };
  Item next() noexcept {
    if (list_) {
      const auto element = list_->next();
      return {symbols_ ? std::optional(kSymbolAtom) : std::nullopt,
              element ? element->bytes : Bytes()};
    }
    const std::size_t bytes = std::min(width_, rest_.size());
    const Item item{atom_type_, rest_.first(bytes)};
    rest_ = rest_.subspan(bytes);
    return item;
  }

 private:
  std::optional<kdb::ListReader> list_;
  bool symbols_ = false;
  Bytes rest_;
  std::size_t width_ = 0;
  std::byte atom_type_{};
};

/// A servant's dictionary that can be merged: keys are symbols, values one for each.
struct ServantInfo {
  Bytes keys;
  Bytes values;

  static std::optional<ServantInfo> open(Bytes object) noexcept {
    // Its values lie a level deeper in the answer than here.
    if (object.empty() || (object.front() != kDict && object.front() != kSortedDict) ||
        !kdb::validate(object, kdb::kDepthMax - 1)) {
      return std::nullopt;
    }
    const Bytes inside = object.subspan(1);
    const auto keys_bytes = kdb::skip(inside);
    if (!keys_bytes || inside.front() != kSymbols) {
      return std::nullopt;
    }
    const ServantInfo info{inside.first(*keys_bytes), inside.subspan(*keys_bytes)};
    return ValueReader::open(info.values) ? std::optional(info) : std::nullopt;
  }

  /// Calls use(key with its NUL, value) for every key that is not among `ours`.
  template <class Use>
  void for_each_of_its_own(Keys ours, Use use) const {
    auto keys_left = kdb::ListReader::open(keys);
    auto values_left = ValueReader::open(values);
    while (const auto key = keys_left->next()) {
      const ValueReader::Item value = values_left->next();
      const std::string_view text(reinterpret_cast<const char*>(key->bytes.data()),
                                  key->bytes.size() - 1);
      if (std::find(ours.begin(), ours.end(), text) == ours.end()) {
        use(key->bytes, value);
      }
    }
  }
};

/// What a servant's dictionary adds to ours.
struct Added {
  std::uint32_t count = 0;
  std::size_t bytes = 0;
};

Added measure(const std::optional<ServantInfo>& servant, Keys ours) {
  Added added;
  if (servant) {
    servant->for_each_of_its_own(ours, [&added](Bytes key, const ValueReader::Item& value) {
      ++added.count;
      added.bytes += key.size() + value.size();
    });
  }
  return added;
}

std::int64_t to_ms(std::uint64_t ns) noexcept {
  return static_cast<std::int64_t>((ns + 500'000) / 1'000'000);
}

void write_values(ObjectWriter& writer, const shm::InfoExt& info, std::string_view servant,
                  std::string_view route, const Stamps* stamps, std::optional<Errc> status) {
  writer.byte(kSymbolAtom);
  writer.symbol(servant);
  writer.long_atom(to_ms(info.elapsed_ns));
  writer.long_atom(to_ms(info.execution_ns));
  writer.byte(kSymbolAtom);
  writer.symbol(route);
  writer.long_atom(info.backlog);
  writer.long_atom(info.remaining);
  if (stamps != nullptr) {
    writer.timestamp_atom(stamps->received);
    writer.timestamp_atom(stamps->sent);
    writer.timestamp_atom(stamps->returned);
  }
  if (status) {
    writer.long_atom(static_cast<std::int64_t>(*status));
  }
}

}  // namespace

std::vector<std::byte> info_object(const shm::InfoExt& info, std::string_view route,
                                   Bytes servant_info, const Stamps* stamps,
                                   std::optional<Errc> status) {
  const std::string_view servant(info.servant, strnlen(info.servant, sizeof(info.servant)));
  route = until_nul(route);
  const auto own = ServantInfo::open(servant_info);
  const OurKeys our_keys(stamps != nullptr, status.has_value());
  const Keys ours = our_keys.all();
  const Added added = measure(own, ours);
  const auto count = static_cast<std::uint32_t>(ours.size() + added.count);
  constexpr std::size_t kSymbolAtomBytes = 2;  // and the text
  const std::size_t value_bytes =
      (ours.size() - 2) * kLongAtomBytes + 2 * kSymbolAtomBytes + servant.size() + route.size();
  std::vector<std::byte> object(1 + 2 * kListHeadBytes + symbols_bytes(ours) + value_bytes +
                                added.bytes);
  ObjectWriter writer(object);
  writer.byte(kDict);
  writer.vector_head(kSymbols, count);
  for (const std::string_view key : ours) {
    writer.symbol(key);
  }
  if (own) {
    own->for_each_of_its_own(
        ours, [&writer](Bytes key, const ValueReader::Item& /*value*/) { writer.bytes(key); });
  }
  writer.vector_head(kList, count);
  write_values(writer, info, servant, route, stamps, status);
  if (own) {
    own->for_each_of_its_own(ours, [&writer](Bytes /*key*/, const ValueReader::Item& value) {
      if (value.type) {
        writer.byte(*value.type);
      }
      writer.bytes(value.bytes);
    });
  }
  return object;
}

}  // namespace mserve::broker
