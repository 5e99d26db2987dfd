// SPDX-License-Identifier: Apache-2.0
// What the link of another broker says of a request, in the options of LBT's convention: that it
// came from there (`hop`), and who asked there (`user`, `role`). Whether to believe it is the
// caller's.
#pragma once

#include <string>
#include <string_view>

#include "mserve/kdb/value.hpp"

namespace mserve::broker {

/// Whether options say that the request came from another broker: `hop` is a whole number above 0.
/// Anything else there says nothing.
[[nodiscard]] bool tells_hop(const kdb::Value& options);

struct ToldCaller {
  bool told = false;  ///< Somebody is named.
  std::string user;
  std::string role;
  std::string_view fault;  ///< Not empty: an error's text, a literal; the rest means nothing.
};

/// Who asked at the other broker. `user` and `role` come together, both of them symbols; a name is
/// at most 256 bytes. Only of options with symbols as keys.
[[nodiscard]] ToldCaller told_caller(const kdb::Value& options);

}  // namespace mserve::broker
