// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/skip.hpp"

#include <algorithm>

#include "walk.hpp"

namespace mserve::kdb {

using detail::NoFields;
using detail::Shape;
using detail::Walker;

Result<std::size_t> skip(std::span<const std::byte> bytes, std::size_t depth_max,
                         ByteOrder order) noexcept {
  Walker<NoFields> walker(bytes, order, depth_max, {});
  Shape shape;
  if (!walker.walk(shape)) {
    return walker.error();
  }
  return shape.end;
}

Result<std::int8_t> validate(std::span<const std::byte> object, std::size_t depth_max,
                             ByteOrder order) noexcept {
  Walker<NoFields> walker(object, order, depth_max, {});
  Shape shape;
  if (!walker.walk(shape)) {
    return walker.error();
  }
  if (shape.end != object.size()) {
    return Error{Errc::trailing_bytes, shape.end};
  }
  return shape.type;
}

Result<std::int8_t> swap_byte_order(std::span<std::byte> object, ByteOrder from) noexcept {
  const auto swap = [object](std::size_t offset, std::size_t width, std::uint64_t count) noexcept {
    for (std::byte* item = object.data() + offset; count > 0; --count, item += width) {
      std::reverse(item, item + width);
    }
  };
  Walker<decltype(swap)> walker(object, from, kDepthMax, swap);
  Shape shape;
  if (!walker.walk(shape)) {
    return walker.error();
  }
  if (shape.end != object.size()) {
    return Error{Errc::trailing_bytes, shape.end};
  }
  return shape.type;
}

namespace {

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string_view text_of(std::span<const std::byte> object) noexcept {
  switch (static_cast<std::int8_t>(object[0])) {
    case -11:
      return as_text(object.subspan(1, object.size() - 2));
    case -10:
      return as_text(object.subspan(1));
    case 10: {
      const std::size_t head = (std::to_integer<unsigned>(object[1]) & 0x80U) != 0 ? 10 : 6;
      return as_text(object.subspan(head));
    }
    default:
      return {};
  }
}

std::string_view Element::text() const noexcept {
  return in_vector ? as_text(bytes.first(bytes.size() - 1)) : text_of(bytes);
}

Result<ListReader> ListReader::open(std::span<const std::byte> object) noexcept {
  if (object.size() < 2) {
    return Error{Errc::truncated, object.size()};
  }
  const auto type = static_cast<std::int8_t>(object[0]);
  if (type != 0 && type != static_cast<std::int8_t>(Type::symbol)) {
    return Error{Errc::bad_type, 0};
  }
  const std::size_t width = (std::to_integer<unsigned>(object[1]) & 0x80U) != 0 ? 8 : 4;
  if (object.size() < 2 + width) {
    return Error{Errc::truncated, 2};
  }
  ListReader reader;
  reader.object_ = object;
  reader.offset_ = 2 + width;
  reader.symbols_ = type != 0;
  reader.count_ = detail::load(object.data() + 2, width, ByteOrder::little);
  if (reader.count_ > object.size() - reader.offset_) {
    return Error{Errc::bad_count, 2};
  }
  reader.remaining_ = reader.count_;
  return reader;
}

std::optional<Element> ListReader::next() noexcept {
  if (remaining_ == 0) {
    return std::nullopt;
  }
  const std::span<const std::byte> rest = object_.subspan(offset_);
  Element element;
  if (symbols_) {
    const auto nul = std::find(rest.begin(), rest.end(), std::byte{0});
    if (nul == rest.end()) {
      error_ = {Errc::truncated, offset_};
      remaining_ = 0;
      return std::nullopt;
    }
    element = {-static_cast<std::int8_t>(Type::symbol),
               rest.first(static_cast<std::size_t>(nul - rest.begin()) + 1), true};
  } else {
    Walker<NoFields> walker(rest, ByteOrder::little, kDepthMax - 1, {});
    Shape shape;
    if (!walker.walk(shape) || shape.type == static_cast<std::int8_t>(Type::error)) {
      error_ = walker.error().code == Errc::ok ? Error{Errc::nested_error, 0} : walker.error();
      error_.offset += offset_;
      remaining_ = 0;
      return std::nullopt;
    }
    element = {shape.type, rest.first(shape.end)};
  }
  offset_ += element.bytes.size();
  --remaining_;
  return element;
}

}  // namespace mserve::kdb
