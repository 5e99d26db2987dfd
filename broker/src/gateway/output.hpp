// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gateway/buffer_pool.hpp"

namespace mserve::broker {

/// Bytes on their way into one non-blocking stream socket: at once as far as the socket takes them,
/// the rest from a buffer that exists only while there is a rest. Threads: one.
class Output {
 public:
  /// @param fd  stays the caller's and open. @param pool  outlives this.
  Output(int fd, BufferPool& pool) noexcept : fd_(fd), pool_(pool) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { pool_.give_back(rest_); }

  /// Sends up to three pieces one behind the other, with one system call when nothing waits.
  /// hot: no copy of what the socket takes.
  void send(std::span<const std::byte> first, std::span<const std::byte> second = {},
            std::span<const std::byte> third = {});

  /// Goes on with what waits: the socket became writable.
  void flush();

  /// Bytes that wait for the socket.
  [[nodiscard]] std::size_t waiting() const noexcept { return rest_.size() - sent_; }
  /// The socket took its last byte: the peer is gone. Everything waiting was dropped.
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  /// Bytes that the socket took since the start.
  [[nodiscard]] std::uint64_t sent_bytes() const noexcept { return sent_bytes_; }

 private:
  void fail() noexcept;

  int fd_;
  bool broken_ = false;
  BufferPool& pool_;
  std::size_t sent_ = 0;  // of rest_
  std::uint64_t sent_bytes_ = 0;
  std::vector<std::byte> rest_;
};

}  // namespace mserve::broker
