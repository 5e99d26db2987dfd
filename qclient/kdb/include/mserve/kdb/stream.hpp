// SPDX-License-Identifier: Apache-2.0
// Validation of an object that is never in memory as a whole, because it passes through in pieces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::kdb {

/// Judges one object that arrives in pieces of any size, as validate() judges the whole of it: the
/// same verdict with the same code for every object and every way of cutting it, and a fault is
/// told with the byte that shows it, or before. Only the offset of the fault is not told.
///
/// Memory: about 2 KiB (a stack of kDepthMax levels), whatever the object. Cost: vectors are jumped
/// over without a look at their items, symbols are scanned, other bytes are looked at once.
/// Allocates nothing. Threads: one at a time.
class StreamValidator {
 public:
  /// @param object_bytes  its whole length, known from the message header.
  /// @param depth_max     1..kDepthMax; larger values count as kDepthMax.
  explicit StreamValidator(std::uint64_t object_bytes, std::size_t depth_max = kDepthMax,
                           ByteOrder order = ByteOrder::little) noexcept;

  /// Judges the next piece; an empty one is fine.
  /// @return ok, or what is wrong with the object, as validate() says it; more bytes than
  /// `object_bytes` are trailing_bytes. The first fault is final: later calls return it again.
  [[nodiscard]] Errc feed(std::span<const std::byte> piece) noexcept;

  /// Exactly one well-formed object was seen, nothing is missing and nothing left over.
  [[nodiscard]] bool done() const noexcept { return want_ == Want::nothing && error_ == Errc::ok; }
  /// Bytes of the object that were not fed yet.
  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }
  /// q type number of the object; 0 before its first byte.
  [[nodiscard]] std::int8_t type() const noexcept { return type_; }
  /// q type number of the direct item that is being read or was read last, when the object is a
  /// general list (or another one that holds objects); 0 before the first. So at the end of a list
  /// it is the type of its last item.
  [[nodiscard]] std::int8_t item_type() const noexcept { return item_type_; }

 private:
  /// What the next byte is.
  enum class Want : std::uint8_t {
    type,        // the type byte of an object
    attribute,   // the attribute byte before a count
    number,      // the next byte of a count
    items,       // bytes of numbers, jumped over
    symbols,     // bytes of NUL-terminated texts
    table_head,  // attribute and type byte of a table's dictionary
    columns,     // what follows the names of a table's columns: a list, or a path
    nothing,     // the object is complete
  };
  /// What an open level of nesting waits for.
  enum class Kind : std::uint8_t {
    list,
    call,  // projection and composition: a sequence whose q count is 1
    derived,
    lambda,
    dict_keys,
    dict_values,
    table_names,
    table_columns,
    table_path,
  };
  struct Level {
    std::uint64_t left = 0;   // items that are not complete yet
    std::uint64_t count = 0;  // q's count: of the list, of the keys, of a table's names
    std::uint64_t rows = 0;   // of the table's columns so far
    Kind kind = Kind::list;
    std::int8_t type = 0;
    std::uint8_t depth = 0;  // of the items
    bool first = true;       // no column is complete yet
  };

  bool fail(Errc code) noexcept;
  void expect_object(std::size_t depth) noexcept;
  void expect_count(std::size_t width) noexcept;
  void expect_attribute() noexcept;
  void expect_items(std::uint64_t bytes) noexcept;
  void expect_symbols(std::uint64_t count) noexcept;
  void open(Kind kind, std::uint64_t count, std::size_t depth) noexcept;

  void step(std::span<const std::byte>& piece) noexcept;
  void read_byte(std::byte next) noexcept;
  void note_type(std::int8_t type) noexcept;
  void read_type(std::int8_t type) noexcept;
  bool read_short_head(std::span<const std::byte>& piece) noexcept;
  void read_compound(std::int8_t type) noexcept;
  void read_number(std::byte next) noexcept;
  void read_symbols(std::span<const std::byte>& piece) noexcept;
  void read_table_head(std::byte next) noexcept;
  void use_count() noexcept;

  void complete(std::int8_t type, std::uint64_t count) noexcept;
  bool close_level(Level& level, std::int8_t type, std::uint64_t count) noexcept;
  bool close_column(Level& level, std::int8_t type, std::uint64_t count) noexcept;
  bool close_columns(Level& level) noexcept;
  void expect_columns(Level& level) noexcept;
  void take(std::span<const std::byte>& piece, std::size_t bytes) noexcept;

  std::uint64_t left_;         // bytes of the object that were not fed yet
  std::uint64_t pending_ = 0;  // bytes to jump over, or symbols to find the end of
  std::uint64_t number_ = 0;   // the count that is being read
  std::uint64_t count_ = 0;    // q's count of the vector that is being read
  std::size_t depth_max_;
  ByteOrder order_;
  Want want_ = Want::type;
  Errc error_ = Errc::ok;
  std::int8_t type_ = 0;
  std::int8_t item_type_ = 0;
  std::int8_t now_ = 0;           // type of the object that is being read
  bool in_columns_ = false;       // the count that is being read is that of a table's columns
  std::uint8_t depth_ = 1;        // of the object that is being read
  std::uint8_t number_left_ = 0;  // bytes of the count, or of the table head, still to come
  std::uint8_t number_width_ = 0;
  std::uint8_t levels_ = 0;
  std::array<Level, kDepthMax> level_;
};

}  // namespace mserve::kdb
