// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace mserve {

/// The ids of requests in flight. Open addressing with the id itself as the hash: ids are
/// consecutive, so they lie side by side, and a lookup is one cache line. Allocates only when it
/// grows past its largest size so far.
class InFlight {
 public:
  /// @param slots  a power of two; half of it fit before it grows.
  explicit InFlight(std::size_t slots = 1024) : ids_(slots, 0) {}

  /// @param id  > 0 and not in the set.
  void insert(std::uint64_t id) {
    if (2 * (size_ + 1) > ids_.size()) [[unlikely]] {
      grow();
    }
    place(id);
    ++size_;
  }

  [[nodiscard]] bool contains(std::uint64_t id) const noexcept {
    return id != 0 && ids_[find(id)] == id;
  }

  /// @return false when the id is not in the set.
  bool erase(std::uint64_t id) noexcept {
    std::size_t hole = find(id);
    if (id == 0 || ids_[hole] != id) {
      return false;
    }
    // Close the hole: move up whatever would not be found across it any more.
    for (std::size_t i = next(hole); ids_[i] != 0; i = next(i)) {
      const std::size_t from_home = (i - ids_[i]) & mask();
      if (from_home >= ((i - hole) & mask())) {
        ids_[hole] = ids_[i];
        hole = i;
      }
    }
    ids_[hole] = 0;
    --size_;
    return true;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Empties the set. @return what was in it, oldest first.
  [[nodiscard]] std::vector<std::uint64_t> take_all() {
    std::vector<std::uint64_t> all;
    all.reserve(size_);
    std::copy_if(ids_.begin(), ids_.end(), std::back_inserter(all),
                 [](std::uint64_t id) { return id != 0; });
    std::sort(all.begin(), all.end());
    std::fill(ids_.begin(), ids_.end(), 0);
    size_ = 0;
    return all;
  }

 private:
  [[nodiscard]] std::size_t mask() const noexcept { return ids_.size() - 1; }
  [[nodiscard]] std::size_t next(std::size_t i) const noexcept { return (i + 1) & mask(); }
  /// Where the id is, or the free place where the search for it ends.
  [[nodiscard]] std::size_t find(std::uint64_t id) const noexcept {
    std::size_t i = id & mask();
    while (ids_[i] != 0 && ids_[i] != id) {
      i = next(i);
    }
    return i;
  }
  void place(std::uint64_t id) noexcept { ids_[find(id)] = id; }
  [[gnu::cold]] void grow() {
    std::vector<std::uint64_t> old(ids_.size() * 2, 0);
    old.swap(ids_);
    for (const std::uint64_t id : old) {
      if (id != 0) {
        place(id);
      }
    }
  }

  std::vector<std::uint64_t> ids_;
  std::size_t size_ = 0;
};

}  // namespace mserve
