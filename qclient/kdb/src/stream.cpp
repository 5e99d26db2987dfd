// SPDX-License-Identifier: Apache-2.0
// The walk of walk.hpp turned inside out: what is a local variable of a recursive call there is a
// Level here, so that it can stop after any byte. Every check stands in the same order, and "left"
// means the same (all bytes of the object that come later, whether they are there yet or not).
// Therefore verdict and code agree; tests and a fuzzer hold both to it.
#include "mserve/kdb/stream.hpp"

#include <algorithm>
#include <cstring>

#include "walk.hpp"

namespace mserve::kdb {

namespace {

constexpr auto kSymbol = static_cast<std::int8_t>(Type::symbol);
constexpr auto kDict = static_cast<std::int8_t>(Type::dict);
constexpr auto kError = static_cast<std::int8_t>(Type::error);

constexpr bool is_function(std::int8_t type) noexcept {
  return type >= 100 && type <= 111;
}

}  // namespace

StreamValidator::StreamValidator(std::uint64_t object_bytes, std::size_t depth_max,
                                 ByteOrder order) noexcept
    : left_(object_bytes),
      depth_max_(std::clamp<std::size_t>(depth_max, 1, kDepthMax)),
      order_(order) {
  expect_object(1);
}

Errc StreamValidator::feed(std::span<const std::byte> piece) noexcept {
  const bool too_long = piece.size() > left_;
  if (too_long) {
    piece = piece.first(static_cast<std::size_t>(left_));
  }
  while (!piece.empty() && error_ == Errc::ok) {
    step(piece);
  }
  if (too_long) {
    static_cast<void>(fail(Errc::trailing_bytes));
  }
  return error_;
}

/// The first fault stays. Always false.
bool StreamValidator::fail(Errc code) noexcept {
  if (error_ == Errc::ok) {
    error_ = code;
  }
  return false;
}

void StreamValidator::take(std::span<const std::byte>& piece, std::size_t bytes) noexcept {
  piece = piece.subspan(bytes);
  left_ -= bytes;
}

void StreamValidator::step(std::span<const std::byte>& piece) noexcept {
  if (want_ == Want::items) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(pending_, piece.size()));
    take(piece, bytes);
    pending_ -= bytes;
    if (pending_ == 0) {
      complete(now_, count_);
    }
    return;
  }
  if (want_ == Want::symbols) {
    read_symbols(piece);
    return;
  }
  if (want_ == Want::type && read_short_head(piece)) {
    return;
  }
  const std::byte next = piece.front();
  if (want_ == Want::columns && next != std::byte{0}) {
    level_[levels_ - 1U].kind = Kind::table_path;  // and the byte belongs to the path
    expect_object(level_[levels_ - 1U].depth);
    return;
  }
  take(piece, 1);
  read_byte(next);
}

void StreamValidator::read_byte(std::byte next) noexcept {
  switch (want_) {
    case Want::type:
      read_type(static_cast<std::int8_t>(next));
      break;
    case Want::attribute:
      expect_count((std::to_integer<unsigned>(next) & 0x80U) != 0 ? 8 : 4);
      break;
    case Want::number:
      read_number(next);
      break;
    case Want::table_head:
      read_table_head(next);
      break;
    case Want::columns:
      in_columns_ = true;
      expect_attribute();
      break;
    default:  // items and symbols were dealt with, and behind the object there are no bytes
      break;
  }
}

// --- what comes next ---

void StreamValidator::expect_object(std::size_t depth) noexcept {
  if (depth > depth_max_) {
    static_cast<void>(fail(Errc::too_deep));
    return;
  }
  if (left_ == 0) {
    static_cast<void>(fail(Errc::truncated));
    return;
  }
  depth_ = static_cast<std::uint8_t>(depth);
  want_ = Want::type;
}

void StreamValidator::expect_attribute() noexcept {
  if (left_ == 0) {
    static_cast<void>(fail(Errc::truncated));
    return;
  }
  want_ = Want::attribute;
}

void StreamValidator::expect_count(std::size_t width) noexcept {
  if (left_ < width) {
    static_cast<void>(fail(Errc::truncated));
    return;
  }
  want_ = Want::number;
  number_ = 0;
  number_width_ = static_cast<std::uint8_t>(width);
  number_left_ = number_width_;
}

/// The object ends with this many bytes that need no look.
void StreamValidator::expect_items(std::uint64_t bytes) noexcept {
  if (bytes == 0) {
    complete(now_, count_);
    return;
  }
  if (left_ < bytes) {
    static_cast<void>(fail(Errc::truncated));
    return;
  }
  pending_ = bytes;
  want_ = Want::items;
}

void StreamValidator::expect_symbols(std::uint64_t count) noexcept {
  if (count == 0) {
    complete(now_, count_);
    return;
  }
  if (left_ == 0) {
    static_cast<void>(fail(Errc::truncated));
    return;
  }
  pending_ = count;
  want_ = Want::symbols;
}

/// Opens a level for the items of the object that is being read, and expects the first.
void StreamValidator::open(Kind kind, std::uint64_t count, std::size_t depth) noexcept {
  Level& level = level_[levels_++];  // a level per depth at most, and depth_max_ <= kDepthMax
  level = {count, count, 0, kind, now_, static_cast<std::uint8_t>(depth), true};
  expect_object(depth);
}

// --- what has come ---

void StreamValidator::note_type(std::int8_t type) noexcept {
  now_ = type;
  count_ = 1;
  if (levels_ == 0) {
    type_ = type;
  } else if (levels_ == 1) {
    item_type_ = type;
  }
}

void StreamValidator::read_type(std::int8_t type) noexcept {
  note_type(type);
  if (type == kError) {
    if (depth_ != 1) {
      static_cast<void>(fail(Errc::nested_error));
      return;
    }
    expect_symbols(1);
  } else if (type < 0) {
    const auto base = static_cast<std::int8_t>(-type);
    if (!is_vector_type(base)) {
      static_cast<void>(fail(Errc::bad_type));
    } else if (base == kSymbol) {
      expect_symbols(1);
    } else {
      expect_items(item_bytes(static_cast<Type>(base)));
    }
  } else if (type == 0 || is_vector_type(type)) {
    expect_attribute();
  } else {
    read_compound(type);
  }
}

/// The usual beginning of a vector or list in one go: it is what most bytes of a list of strings
/// are about. False: something else, or it does not end within the piece.
bool StreamValidator::read_short_head(std::span<const std::byte>& piece) noexcept {
  const auto type = static_cast<std::int8_t>(piece.front());
  const bool counted = type == 0 || is_vector_type(type);
  if (!counted || piece.size() < 6 || (std::to_integer<unsigned>(piece[1]) & 0x80U) != 0) {
    return false;
  }
  note_type(type);
  number_ = detail::load(piece.data() + 2, 4, order_);
  take(piece, 6);
  use_count();
  return true;
}

void StreamValidator::read_compound(std::int8_t type) noexcept {
  const std::size_t inside = depth_ + std::size_t{1};
  if (type == kDict || type == static_cast<std::int8_t>(Type::sorted_dict)) {
    open(Kind::dict_keys, 0, inside);
  } else if (type == static_cast<std::int8_t>(Type::table)) {
    if (left_ < 2) {
      static_cast<void>(fail(Errc::truncated));
    } else if (depth_ + std::size_t{2} > depth_max_) {
      static_cast<void>(fail(Errc::too_deep));
    } else {
      number_left_ = 2;
      want_ = Want::table_head;
    }
  } else if (!is_function(type)) {
    static_cast<void>(fail(Errc::bad_type));
  } else if (type == static_cast<std::int8_t>(Type::lambda)) {
    expect_symbols(1);  // the context; the source follows, see read_symbols()
  } else if (type <= static_cast<std::int8_t>(Type::iterator)) {
    expect_items(1);  // a code
  } else if (type <= static_cast<std::int8_t>(Type::composition)) {
    expect_count(4);
  } else {
    open(Kind::derived, 1, inside);
  }
}

void StreamValidator::read_number(std::byte next) noexcept {
  const unsigned place =
      order_ == ByteOrder::little ? number_width_ - number_left_ + 0U : number_left_ - 1U;
  number_ |= std::to_integer<std::uint64_t>(next) << (8 * place);
  if (--number_left_ == 0) {
    use_count();
  }
}

/// A count is complete: every item takes at least a byte, or its width.
void StreamValidator::use_count() noexcept {
  const bool vector = !in_columns_ && is_vector_type(now_) && now_ != kSymbol;
  const std::size_t width = vector ? item_bytes(static_cast<Type>(now_)) : 1;
  if (number_ > left_ / width) {
    static_cast<void>(fail(Errc::bad_count));
    return;
  }
  if (in_columns_) {
    in_columns_ = false;
    expect_columns(level_[levels_ - 1U]);
    return;
  }
  if (is_vector_type(now_)) {
    count_ = number_;
    if (vector) {
      expect_items(number_ * width);
    } else {
      expect_symbols(number_);
    }
    return;
  }
  // A general list has as many items as it says; a projection is one thing.
  count_ = now_ == 0 ? number_ : 1;
  if (number_ == 0) {
    complete(now_, count_);
  } else {
    open(now_ == 0 ? Kind::list : Kind::call, number_, depth_ + std::size_t{1});
  }
}

void StreamValidator::read_symbols(std::span<const std::byte>& piece) noexcept {
  const void* nul = std::memchr(piece.data(), 0, piece.size());
  if (nul == nullptr) {
    take(piece, piece.size());
    if (left_ == 0) {
      static_cast<void>(fail(Errc::truncated));
    }
    return;
  }
  take(piece, static_cast<std::size_t>(static_cast<const std::byte*>(nul) - piece.data()) + 1);
  if (--pending_ != 0) {
    if (left_ == 0) {
      static_cast<void>(fail(Errc::truncated));
    }
  } else if (now_ == static_cast<std::int8_t>(Type::lambda)) {
    open(Kind::lambda, 1, depth_ + std::size_t{1});
  } else {
    complete(now_, count_);
  }
}

void StreamValidator::read_table_head(std::byte next) noexcept {
  if (--number_left_ != 0) {
    return;  // the attribute
  }
  if (static_cast<std::int8_t>(next) != kDict) {
    static_cast<void>(fail(Errc::bad_shape));
    return;
  }
  open(Kind::table_names, 0, depth_ + std::size_t{2});
}

/// The list of a table's columns announced `number_` of them.
void StreamValidator::expect_columns(Level& level) noexcept {
  level.kind = Kind::table_columns;
  level.left = number_;
  level.count -= number_;  // names without a column; judged behind the last one, as the walk does
  level.depth = static_cast<std::uint8_t>(level.depth + 1);
  if (number_ != 0) {
    expect_object(level.depth);
  } else if (close_columns(level)) {
    --levels_;
    complete(level.type, level.count);
  }
}

// --- what is complete ---

/// An object of this type and q count ended; so may have the levels around it.
void StreamValidator::complete(std::int8_t type, std::uint64_t count) noexcept {
  while (levels_ != 0) {
    Level& level = level_[levels_ - 1U];
    if (!close_level(level, type, count)) {
      return;
    }
    type = level.type;
    count = level.count;
    --levels_;
  }
  want_ = Want::nothing;
  if (left_ != 0) {
    static_cast<void>(fail(Errc::trailing_bytes));
  }
}

/// Takes note of an item that ended. True: it was the last one, and level.count is q's count of the
/// whole. False: the level expects more, or failed.
bool StreamValidator::close_level(Level& level, std::int8_t type, std::uint64_t count) noexcept {
  switch (level.kind) {
    case Kind::list:
    case Kind::call:
      if (--level.left != 0) {
        expect_object(level.depth);
        return false;
      }
      level.count = level.kind == Kind::list ? level.count : 1;
      return true;
    case Kind::derived:
      return true;
    case Kind::lambda:
      return type == static_cast<std::int8_t>(Type::character) || fail(Errc::bad_shape);
    case Kind::dict_keys:
      level.kind = Kind::dict_values;
      level.count = count;
      expect_object(level.depth);
      return false;
    case Kind::dict_values:
      return level.count == count || fail(Errc::bad_shape);
    case Kind::table_names:
      if (type != kSymbol) {
        return fail(Errc::bad_shape);
      }
      level.count = count;
      want_ = Want::columns;
      return left_ == 0 && fail(Errc::truncated);
    case Kind::table_columns:
      return close_column(level, type, count);
    default:  // table_path
      level.count = 0;
      return type == -kSymbol || fail(Errc::bad_shape);
  }
}

bool StreamValidator::close_column(Level& level, std::int8_t type, std::uint64_t count) noexcept {
  if (type < 0 || is_function(type) || (!level.first && count != level.rows)) {
    return fail(Errc::bad_shape);
  }
  level.first = false;
  level.rows = count;
  if (--level.left != 0) {
    expect_object(level.depth);
    return false;
  }
  return close_columns(level);
}

bool StreamValidator::close_columns(Level& level) noexcept {
  const bool each_has_a_name = level.count == 0;
  level.count = level.rows;
  return each_has_a_name || fail(Errc::bad_shape);
}

}  // namespace mserve::kdb
