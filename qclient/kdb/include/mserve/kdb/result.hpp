// SPDX-License-Identifier: Apache-2.0
// Value-or-error for the kdb+ library. Nothing in this library throws, prints, aborts or logs: it
// is a guest in other people's processes, and most of what it reads was written by somebody it must
// not trust.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace mserve::kdb {

/// Why an operation was refused. The numbers are stable: they appear in logs, counters and tests.
enum class Errc : std::uint16_t {
  ok = 0,
  truncated =
      1,  ///< The object or message ends before its own counts say. Wait for more bytes or refuse.
  trailing_bytes = 2,  ///< Bytes are left over after the object. Refuse the message.
  bad_type = 3,        ///< A type byte that does not exist on the wire (3, 20, 77, 112, ...).
  bad_count = 4,       ///< A negative count, or one that runs past the data.
  bad_shape =
      5,  ///< Dictionary of unequal counts, table of unequal columns, names that are no symbols.
  too_deep = 6,          ///< Nested deeper than the limit (default kDepthMax).
  nested_error = 7,      ///< An error object inside another object; legal only as a whole message.
  too_large = 8,         ///< Longer than the caller's cap.
  bad_header = 10,       ///< Byte order, message type or compression byte out of range.
  bad_length = 11,       ///< The header's length does not match the bytes given.
  bad_compression = 12,  ///< The compressed stream points outside itself or ends early.
  unparsable = 20,  ///< Not q syntax that this parser knows; the offset is the column (from 0).
  not_literal =
      21,  ///< A value was wanted, but the text holds a name, a call, an operator, a lambda, ...
  nested_evaluation =
      22,  ///< The call is well formed, but an argument is not a literal. LBT: "nested evaluation".
  not_a_call = 23,     ///< The text or object does not start with the name of a function.
  text_too_long = 24,  ///< Query text above the cap of the parser.
  bad_rule = 30,       ///< Not a routing rule; route.hpp names those there are.
};

/// The identifier of a code, such as "truncated"; "unknown" for a number that is no code. Static
/// storage.
[[nodiscard]] std::string_view name_of(Errc code) noexcept;

/// One short ASCII phrase for people, such as "ends before its own counts say". Static storage.
[[nodiscard]] std::string_view describe(Errc code) noexcept;

/// What went wrong and where. `offset` counts bytes from the start of the bytes or text that was
/// passed in.
struct [[nodiscard]] Error {
  Errc code = Errc::ok;
  std::size_t offset = 0;
  friend bool operator==(const Error&, const Error&) = default;
};

/// "truncated at 17: ends before its own counts say"; for logs and messages. Allocates.
[[nodiscard]] std::string to_text(const Error& error);

/// Either a T or an E. Test it, then look: reading the side that is not there is a bug of the
/// caller's (checked by sanitizers only).
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T& value() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T& operator*() & noexcept { return value(); }
  [[nodiscard]] const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  [[nodiscard]] const E& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, E> state_;
};

}  // namespace mserve::kdb
