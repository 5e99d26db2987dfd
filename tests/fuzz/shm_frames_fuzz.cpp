// SPDX-License-Identifier: Apache-2.0
// Any bytes as a ring that its consumer was given, and as the cursor that its producer reads back:
// no frame reaches beyond the ring, none is larger than agreed, a lie ends it for good, and all of
// it ends. The first input bytes choose capacity and where the consumer stands; each frame's
// extensions are parsed, fragments are put together.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "mserve/shm/frame.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/ring.hpp"

namespace {

using namespace mserve;
using namespace mserve::shm;

constexpr std::uint64_t kAssembledMax = 1 << 14;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

/// A ring's words and bytes; bytes behind its end are the sanitizer's.
struct Ring {
  explicit Ring(std::uint64_t bytes, std::uint64_t at)
      : store(bytes / kCacheLine), consumer_pos(at), capacity(bytes), start(at) {}
  [[nodiscard]] RingMemory memory() {
    return {store.front().bytes, capacity, start, &producer_pos, &consumer_pos, &polled};
  }

  struct alignas(kCacheLine) Line {
    std::byte bytes[kCacheLine] = {};
  };
  std::vector<Line> store;
  std::atomic<std::uint64_t> producer_pos{0};
  std::atomic<std::uint64_t> consumer_pos;
  std::atomic<std::uint32_t> polled{0};
  std::uint64_t capacity;
  std::uint64_t start;
};

void consume(Ring& ring) {
  RingConsumer consumer(ring.memory());
  Assembler assembler(kAssembledMax);
  std::vector<std::byte> message;
  const std::byte* const begin = ring.store.front().bytes;
  const std::byte* const end = begin + ring.capacity;
  // Each frame takes a line at least, and nothing is zeroed behind it: more than once around is as
  // hostile as it gets.
  for (std::uint64_t frames = 0; frames <= 2 * ring.capacity / kCacheLine; ++frames) {
    FrameView frame;
    const bool waits = consumer.ready();
    const Errc code = consumer.front(frame);
    require(code == Errc::ok || code == Errc::empty || code == Errc::bad_frame);
    require(waits || code == Errc::empty);
    require((code == Errc::bad_frame) == consumer.poisoned());
    if (code != Errc::ok) {
      FrameView again;
      require(consumer.front(again) == code);
      return;
    }
    require(frame.extensions.data() >= begin && frame.payload.data() <= end);
    require(frame.payload.data() + frame.payload.size() <= end);
    require(frame.header.frame_bytes <= frame_bytes_max(ring.capacity));
    require(kFrameHeaderBytes + frame.extensions.size() + frame.payload.size() ==
            frame.header.frame_bytes);
    Extensions extensions;
    if (parse_extensions(frame.extensions, extensions) && extensions.has_flow) {
      const Errc added = assembler.add(frame.header.id, extensions.flow, frame.payload, message);
      require(added != Errc::ok || message.size() == extensions.flow.total_bytes);
      require(message.size() <= kAssembledMax);
    }
    require(extensions.info.servant[sizeof(extensions.info.servant) - 1] == '\0');
    require(extensions.priority <= kPriorityMax);
    const std::uint64_t at = consumer.position();
    consumer.release();
    require(consumer.position() - at == frame_stride(frame.header.frame_bytes));
    require(consumer.position() - ring.consumer_pos.load(std::memory_order_relaxed) <
            ring.capacity / 4);  // published
  }
}

/// The other side's only word for a producer, with any values: it is believed or it poisons, and
/// what is claimed lies in the ring and never on what was not given back.
void produce(Ring& ring, std::span<const std::byte> input) {
  RingProducer producer(ring.memory());
  std::uint64_t believed = ring.start;
  while (input.size() >= 12) {
    std::uint64_t step = 0;
    std::uint32_t wanted = 0;
    std::memcpy(&step, input.data(), sizeof(step));
    std::memcpy(&wanted, input.data() + 8, sizeof(wanted));
    input = input.subspan(12);
    const std::uint64_t before = producer.position();
    const std::uint64_t unread = before - believed;
    const std::uint64_t told = (step & 1) != 0
                                   ? step >> 1  // whatever
                                   : believed + step % (unread / kCacheLine + 1) * kCacheLine;
    const bool lie = told - believed > unread || told % kCacheLine != 0;
    ring.consumer_pos.store(told, std::memory_order_relaxed);
    FrameHeader header;
    header.kind = Kind::request;
    header.frame_bytes = static_cast<std::uint32_t>(
        kFrameHeaderBytes + wanted % (frame_bytes_max(ring.capacity) - kFrameHeaderBytes + 1));
    std::byte* const frame = producer.try_claim(header.frame_bytes);
    (void)producer.unread();
    require(producer.poisoned() == lie);
    if (lie) {
      require(producer.try_claim(kCacheLine) == nullptr);
      return;
    }
    believed = told;
    if (frame == nullptr) {
      continue;
    }
    const std::byte* const begin = ring.store.front().bytes;
    require(frame >= begin && frame + header.frame_bytes <= begin + ring.capacity);
    std::memset(frame + kFrameHeaderBytes, 0xa5, header.frame_bytes - kFrameHeaderBytes);
    producer.commit(header);
    require(producer.position() - before <= ring.capacity / 2);
    require(producer.position() - believed <= ring.capacity - kRingReserveBytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const std::uint64_t capacity = kRingBytesMin << (data[0] & 1);
  const std::uint64_t start = std::uint64_t{data[1]} * kCacheLine + (data[0] >> 1) * capacity;
  const auto input = std::as_bytes(std::span(data, size).subspan(2));
  Ring read(capacity, start);
  // The input stands from where the consumer looks first, around the end if need be.
  const std::uint64_t at = start % capacity;
  const std::uint64_t bytes = std::min<std::uint64_t>(input.size(), capacity);
  const std::uint64_t first = std::min(bytes, capacity - at);
  std::byte* const ring = read.store.front().bytes;
  std::copy_n(input.begin(), first, ring + at);
  std::copy_n(input.begin() + static_cast<std::ptrdiff_t>(first), bytes - first, ring);
  consume(read);
  Ring written(capacity, start);
  produce(written, input);
  return 0;
}
