// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mserve::broker {

/// What the page tells about the broker.
struct HttpFacts {
  std::string name;
  std::uint16_t port = 0;
  std::uint64_t connections = 0;
  std::uint64_t servants = 0;
  std::uint64_t requests = 0;
  bool draining = false;      ///< It will shut down: nobody new should come.
  bool awaits_users = false;  ///< Nobody can get in before it knows users.
};

/// The whole answer to an HTTP request. `/healthz` gets 200 and `ok`, or 503 and `draining` or
/// `no users`; `/` a page on what listens here and how to ask it, which all else gets as well, with
/// 404. GET and HEAD get it, other methods get 405. It evaluates nothing.
[[nodiscard]] std::string http_page(std::string_view method, std::string_view target,
                                    const HttpFacts& facts);

}  // namespace mserve::broker
