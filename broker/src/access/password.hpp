// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "access/secret.hpp"

namespace mserve::broker {

/// What a users file has in a password's place.
struct StoredPassword {
  enum class Kind : std::uint8_t {
    plain,
    md5,    ///< kdb+'s -u file: 32 hex digits.
    sha1,   ///< LBT's users.csv and kdb+'s -u file: 40 hex digits.
    crypt,  ///< crypt(3): $y$ (yescrypt), $6$, ...; what `mserve-client passwd` writes.
  };
  Kind kind = Kind::plain;
  std::string value;  ///< md5, sha1: the digest's bytes; else as it stands in the file.
};

/// Reads one. @param plain_allowed  whatever is no hash is the password itself, unless it is empty.
/// @return nothing when it is no hash that this machine knows.
[[nodiscard]] std::optional<StoredPassword> parse_password(std::string_view text,
                                                           bool plain_allowed);

/// Whether `password` is the one stored. Takes as long for a wrong one as for the right one.
/// Yescrypt takes tens of milliseconds and megabytes: never on a thread that serves.
/// @thread any.
[[nodiscard]] bool verify(const Secret& password, const StoredPassword& stored);

}  // namespace mserve::broker
