// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mserve::shim {

/// How one transfer to or from q ended.
enum class Outcome : std::uint8_t {
  moved,    ///< At least one byte went over.
  blocked,  ///< None now; it may go on later.
  lost,     ///< Never again: q hung up, or the network says so.
};

struct Transfer {
  Outcome outcome = Outcome::blocked;
  std::size_t bytes = 0;
};

using Piece = std::span<const std::byte>;

/// The two byte streams between us and q, as those see them who translate messages: a socket, or a
/// test's buffers. Neither call ever waits. One system call hides behind each, so a virtual call
/// does not show.
class QLink {
 public:
  QLink() = default;
  QLink(const QLink&) = delete;
  QLink& operator=(const QLink&) = delete;
  virtual ~QLink() = default;

  /// Sends as much as q takes of the pieces, in their order. @param pieces  at most 4, not all
  /// empty.
  [[nodiscard]] virtual Transfer send(std::span<const Piece> pieces) noexcept = 0;
  /// Receives what is there, at most into.size() bytes (> 0).
  [[nodiscard]] virtual Transfer receive(std::span<std::byte> into) noexcept = 0;
};

}  // namespace mserve::shim
