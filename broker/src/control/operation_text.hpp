// SPDX-License-Identifier: Apache-2.0
// What operators are told about servants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/rendezvous.hpp"

namespace mserve::broker {

/// The name of a verb on the command line of mserve-stat; a literal.
[[nodiscard]] const char* name_of(shm::Verb verb) noexcept;

/// Servants by name and number, as many as fit into a sentence.
class ServantList {
 public:
  /// @param number  from 1; 0: it is not attached.
  /// @param note    what else is to be said of it, a few words; may be empty.
  void add(std::string_view name, std::uint32_t number, std::string_view note = {});
  /// How many were added.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// "a (number 1), b (number 2) and 7 more"; some 120 bytes at most.
  [[nodiscard]] std::string text() const;

 private:
  std::string text_;
  std::size_t count_ = 0;
  std::size_t shown_ = 0;
};

/// How far the servants of an operation have come.
struct OperationProgress {
  ServantList done;
  ServantList gone;  ///< Their sessions ended by themselves, so it was not done to them.
  ServantList waiting;
  bool called_off = false;  ///< Somebody resumed one of those that are to run dry.
};

/// What an operator is told.
struct OperationAnswer {
  Errc status = Errc::ok;
  std::uint64_t count = 0;  ///< Servants that it was done to.
  std::string text;         ///< One sentence; fits ControlReply::text.
};

/// The answer when it is time for one. `ok`, `no_servant` (all of them went meanwhile), `cancelled`
/// (called off), `timed_out`.
/// @param expired  the operator does not wait any longer.
[[nodiscard]] std::optional<OperationAnswer> answer_of(shm::Verb verb,
                                                       const OperationProgress& progress,
                                                       bool expired);

}  // namespace mserve::broker
