// SPDX-License-Identifier: Apache-2.0
#include "floor_channel.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

namespace mserve::bench {
namespace {

constexpr std::size_t kSlotsMax = 1024;
constexpr std::size_t kChannelBytes = 1U << 20;

}  // namespace

FloorChannel::FloorChannel(std::size_t payload_bytes)
    : payload_bytes_(std::max(payload_bytes, kLinePayloadBytes)),
      slot_bytes_((sizeof(std::uint64_t) + payload_bytes_ + shm::kCacheLine - 1) / shm::kCacheLine *
                  shm::kCacheLine),
      slot_mask_(
          std::bit_floor(std::clamp<std::size_t>(kChannelBytes / slot_bytes_, 1, kSlotsMax)) - 1),
      memory_(static_cast<std::byte*>(mmap(nullptr, slot_bytes_ * (slot_mask_ + 1),
                                           PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0))) {
  if (memory_ == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "no memory for the floor's relay");
  }
}

FloorChannel::~FloorChannel() {
  (void)munmap(memory_, slot_bytes_ * (slot_mask_ + 1));
}

}  // namespace mserve::bench
