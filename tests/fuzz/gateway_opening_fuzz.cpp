// SPDX-License-Identifier: Apache-2.0
// Any bytes as the opening of a connection, arriving in any way: bounded, and what was decided once
// stays decided. The first input byte chooses where the bytes are cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "gateway/opening.hpp"

namespace {

using mserve::broker::kOpeningBytesMax;
using mserve::broker::Opening;
using mserve::broker::parse_opening;
using Kind = Opening::Kind;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void check(const Opening& opening, std::span<const std::byte> bytes, bool ended) {
  const bool asks = opening.kind == Kind::more;
  require(!asks || (!ended && bytes.size() < kOpeningBytesMax));
  require(opening.consumed <= std::min(bytes.size(), kOpeningBytesMax));
  const bool taken = !asks && opening.kind != Kind::refused;
  require(taken == (opening.consumed != 0));
  require(opening.reason.empty() == (opening.kind != Kind::refused));
  require(opening.method.empty() == (opening.kind != Kind::http));
  require(opening.text.find('\0') == std::string::npos);
  require(opening.user.find('\0') == std::string::npos);
}

bool same(const Opening& a, const Opening& b) {
  return a.kind == b.kind && a.capability == b.capability && a.consumed == b.consumed &&
         a.user == b.user && a.password == b.password && a.text == b.text && a.method == b.method;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const auto early = bytes.first(std::min<std::size_t>(data[0], bytes.size()));
  const Opening first = parse_opening(early, false);
  const Opening later = parse_opening(bytes, false);
  check(first, early, false);
  check(later, bytes, false);
  check(parse_opening(bytes, true), bytes, true);
  // An old client that said nothing yet may turn out to be a console, see the header.
  const bool decided = first.kind != Kind::more && first.consumed != early.size();
  require(!decided || first.kind == Kind::refused || same(first, later));
  require(first.kind != Kind::refused || later.kind == Kind::refused);
  return 0;
}
