// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "cluster/etcd_messages.hpp"

namespace mserve::cluster {

/// Lists what the members of a cluster watch: bodies of requests out, of answers in; no I/O.
///
/// The document first, by a request of its own, so that no number of other keys hides it. Then all
/// that lies before it, in pages, as it was at the revision of the first answer. What others put
/// there may be of any size: a page that is longer than an answer may be is asked for with half as
/// many keys, down to one, and that one without its value. Bounded: kKeysMax keys in all, and so
/// many pages. Threads: one.
class Lister {
 public:
  enum class Step : std::uint8_t { more, done, failed };
  static constexpr std::size_t kPageKeys = 128;  ///< Of honest brokers they take 3 MiB at most.

  /// @param page_keys  the most that a page holds; 1 at least.
  explicit Lister(const std::string& cluster, std::size_t page_keys = kPageKeys);

  /// How many keys a page holds at most now.
  [[nodiscard]] std::size_t page_keys() const noexcept { return limit_; }
  /// The body of what to ask next.
  [[nodiscard]] std::string request() const;
  /// @param body   of the answer; empty: it is longer than kAnswerBytesMax.
  /// @param fault  why it failed.
  [[nodiscard]] Step take(std::string_view body, std::string& fault);
  /// What was found; of done, all there is. Values that are longer than a broker's are empty.
  [[nodiscard]] const Listing& all() const noexcept { return all_; }
  [[nodiscard]] Listing take_all() noexcept { return std::move(all_); }

 private:
  [[nodiscard]] std::size_t limit() const noexcept;
  [[nodiscard]] Step make_smaller(std::string& fault);

  const KeyRange before_;  // the document: where brokers are
  KeyRange range_;         // that is asked for
  Listing all_{};
  const std::size_t page_keys_;
  std::size_t limit_;
  std::size_t taken_ = 0;
  bool document_ = true;  // it is asked for
  bool values_ = true;
};

}  // namespace mserve::cluster
