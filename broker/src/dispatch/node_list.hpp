// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "dispatch/types.hpp"

// Doubly linked lists threaded through arrays of nodes by index: no allocation, half the size of
// pointers, and a node can be checked against the array's bounds. A node may carry several Links
// and so be in several lists at once; a call names which by pointer to member, for example
// append<&Request::order>(requests, list, slot). `Nodes` is the array: a vector or a LargeArray.
namespace mserve::broker {

struct Links {
  std::uint32_t prev;
  std::uint32_t next;
};

struct List {
  std::uint32_t first = kNone;
  std::uint32_t last = kNone;
  [[nodiscard]] bool empty() const noexcept { return first == kNone; }
};

template <auto kLinks, class Nodes>
void append(Nodes& nodes, List& list, std::uint32_t index) noexcept {
  nodes[index].*kLinks = {list.last, kNone};
  if (list.last == kNone) {
    list.first = index;
  } else {
    (nodes[list.last].*kLinks).next = index;
  }
  list.last = index;
}

/// `index` must be in `list`.
template <auto kLinks, class Nodes>
void remove(Nodes& nodes, List& list, std::uint32_t index) noexcept {
  // One by one, as they were stored: a load of both waits until both stores have left the
  // processor.
  const std::uint32_t prev = (nodes[index].*kLinks).prev;
  const std::uint32_t next = (nodes[index].*kLinks).next;
  if (prev == kNone) {
    list.first = next;
  } else {
    (nodes[prev].*kLinks).next = next;
  }
  if (next == kNone) {
    list.last = prev;
  } else {
    (nodes[next].*kLinks).prev = prev;
  }
}

/// Asks for the node's cache line; nothing waits for it. Without a branch, which would often be
/// mispredicted: kNone asks for some node's line. `nodes` must not be empty. Always inline, as
/// has to be every function that does nothing but call it: gcc takes a call of a function that only
/// prefetches for one without effect and drops it.
template <class Nodes>
[[gnu::always_inline]] inline void prefetch(const Nodes& nodes, std::uint32_t index) noexcept {
  __builtin_prefetch(&nodes[index != kNone ? index : 0], 1);
}

/// Moves `index`, which must be in `list`, to its end.
template <auto kLinks, class Nodes>
void make_last(Nodes& nodes, List& list, std::uint32_t index) noexcept {
  if (list.last != index) {
    remove<kLinks>(nodes, list, index);
    append<kLinks>(nodes, list, index);
  }
}

}  // namespace mserve::broker
