// SPDX-License-Identifier: Apache-2.0
// Secure invocation, as LBT has it: a query is a call of a listed function with literal arguments,
// or an error. Nothing is ever evaluated.
//
//   text of the error       when
//   unknown command: `f     the function is not listed, or the query does not start with a name
//   nested evaluation       it is listed, but an argument is a name, a call, an operator, a
//                           lambda, ...
//   parse                   query text that is no q
//   limit                   query text too long, or nested too deeply
//   badmsg                  bytes that are no kdb+ object
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/result.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

/// Says whether a function of this name may be called. Asked at most twice per query.
using IsListed = std::function<bool(std::string_view name)>;

/// Judges one query: an encoded little-endian object, either text or a list such as (`fn;args...).
/// Whether the function is listed is asked first, then whether all arguments are literals.
/// @return the call, its name listed; or the error value to answer with.
[[nodiscard]] Result<Call, Value> admit(std::span<const std::byte> query, const IsListed& listed);

}  // namespace mserve::kdb
