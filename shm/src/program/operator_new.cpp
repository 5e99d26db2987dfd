// SPDX-License-Identifier: Apache-2.0
// Of our executables, where mimalloc is the allocator: Debian's, written in C, cannot throw and
// ends the process when `new` finds no memory. With these, whoever asked for too much gets
// std::bad_alloc, as the language says. What is freed goes to mimalloc either way.
#include <cstdlib>
#include <new>

namespace {

void* checked(void* memory) {
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

std::size_t at_least_one(std::size_t bytes) noexcept {
  return bytes != 0 ? bytes : 1;
}

void* aligned(std::size_t bytes, std::align_val_t alignment) {
  void* memory = nullptr;
  const int failed =
      ::posix_memalign(&memory, static_cast<std::size_t>(alignment), at_least_one(bytes));
  return checked(failed == 0 ? memory : nullptr);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return checked(std::malloc(at_least_one(bytes)));
}
void* operator new[](std::size_t bytes) {
  return checked(std::malloc(at_least_one(bytes)));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return aligned(bytes, alignment);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return aligned(bytes, alignment);
}
