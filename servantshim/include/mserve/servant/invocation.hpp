// SPDX-License-Identifier: Apache-2.0
// Secure invocation: what a client sent becomes a call of a listed function with literal arguments,
// or an error; nothing is ever evaluated. Errors are kdb+ error values, ready to be sent back.
//
//   text of the error       when
//   unknown command: `f     the function is not listed, or the query does not start with a
//   function's name nested evaluation       the function is listed, but an argument is a name, a
//   call, an operator, a lambda, ... parse                   query text that is no q limit query
//   text too long, or nested too deeply badmsg                  bytes that are no kdb+ object
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/admit.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::servant {

/// A function that clients may call. What it returns is the result; return
/// kdb::Value::error("type") to answer with an error. It may throw: the client then gets what() as
/// the error's text.
using Function = std::function<kdb::Value(std::span<const kdb::Value> arguments)>;

/// Answers requests that are no kdb+ objects. `message` holds the request and, on return, the
/// reply; so the empty function is an echo and copies nothing. It may throw, as a Function may.
using OpaqueFunction = std::function<void(std::vector<std::byte>& message)>;

/// Functions by name; what clients may call, and nothing else.
/// @thread add() before serving begins; find() and names() from any thread after that.
class Functions {
 public:
  /// @param name  what q takes as a name: letters, digits, _ and dots, such as `proc1` or
  /// `.api.get`.
  /// @return false, and nothing changed, when the name is no name or taken, or the function is
  /// empty.
  [[nodiscard]] bool add(std::string name, Function function);

  /// The function of that name, or nullptr. Valid as long as this object lives.
  [[nodiscard]] const Function* find(std::string_view name) const noexcept;

  /// All names, in ascending order.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::map<std::string, Function, std::less<>> functions_;
};

/// Says whether a function of this name may be called. Asked at most twice per query.
using IsListed = kdb::IsListed;

/// Judges one query: an encoded little-endian object, either text or a list such as (`fn;args...).
/// Whether the function is listed is asked first, then whether all arguments are literals.
/// @return the call, its name listed; or the error value to answer with (see the table above).
/// @thread any.
[[nodiscard]] kdb::Result<kdb::Call, kdb::Value> admit(std::span<const std::byte> query,
                                                       const IsListed& listed);

/// Runs `function`; an exception comes back as an error value: its what(), `wsfull` for
/// std::bad_alloc, `internal` for what is no std::exception. Never throws, unless even the error's
/// text finds no memory.
[[nodiscard]] kdb::Value call(const Function& function, std::span<const kdb::Value> arguments);

/// admit() and call() in one.
/// @return the function's result, or an error value.
[[nodiscard]] kdb::Value invoke(const Functions& functions, std::span<const std::byte> query);

}  // namespace mserve::servant
