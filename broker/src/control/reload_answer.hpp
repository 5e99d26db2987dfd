// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/errc.hpp"
#include "reload.hpp"

namespace mserve::broker {

/// What an operator is told of a reload; see shm::Verb::reload.
struct ReloadAnswer {
  Errc status = Errc::ok;  ///< `invalid`: nothing was changed.
  kdb::Value table{};
  std::string text{};  ///< One sentence.
};

/// @param read  what reading the configuration again gave, applied if nothing is wrong with it.
[[nodiscard]] ReloadAnswer answer_of(const Reloaded& read);

}  // namespace mserve::broker
