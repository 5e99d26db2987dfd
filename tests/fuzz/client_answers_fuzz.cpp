// SPDX-License-Identifier: Apache-2.0
// Any bytes as what a gateway sends, in pieces of any size: every frame is well formed and within
// bounds, and every answer in it can be read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "lib/answer_reader.hpp"
#include "lib/private_ring.hpp"
#include "lib/remote_answer.hpp"
#include "mserve/shm/message.hpp"

namespace {

using namespace mserve;

constexpr std::uint64_t kMessageBytesMax = 1U << 16;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

bool inside(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void read_answer(std::span<const std::byte> payload, std::uint8_t flags) {
  require(payload.size() <= kMessageBytesMax);
  const RemoteAnswer answer = read_remote_answer(payload, (flags & shm::kFlagPair) != 0);
  require(inside(answer.result, payload) && inside(answer.info, payload));
  require((answer.status == Errc::ok) == !answer.result.empty());
  if (const auto pair = split_pair(payload)) {
    require(inside(pair->result, payload) && inside(pair->info, payload));
  }
}

struct Consumer {
  shm::RingConsumer& ring;
  shm::Assembler assembler{2 * kMessageBytesMax};

  void run() {
    shm::FrameView frame;
    for (Errc code = ring.front(frame); code != Errc::empty; code = ring.front(frame)) {
      require(code == Errc::ok);
      shm::Extensions ext;
      require(shm::parse_extensions(frame.extensions, ext));
      std::vector<std::byte> whole(frame.payload.begin(), frame.payload.end());
      const Errc status = static_cast<Errc>(shm::unpack_reply(frame.header.aux).status);
      require(status == Errc::ok || (status == Errc::too_large && whole.empty()));
      bool complete = status == Errc::ok;
      if (ext.has_flow) {
        const Errc added = assembler.add(frame.header.id, ext.flow, frame.payload, whole);
        require(added == Errc::ok || added == Errc::empty);
        complete = added == Errc::ok;
      }
      if (complete) {
        read_answer(whole, frame.header.flags);
      }
      ring.release();
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const std::size_t step = 1 + data[0] * std::size_t{16};
  PrivateRing ring(shm::kRingBytesMin);
  AnswerReader reader(ring.producer(), kMessageBytesMax);
  reader.want_info(data[1]);
  Consumer consumer{ring.consumer()};
  const std::span<const std::byte> stream(reinterpret_cast<const std::byte*>(data) + 2, size - 2);
  std::vector<std::byte> waiting;
  for (std::size_t at = 0; at < stream.size() && !reader.failed(); at += step) {
    const auto now = stream.subspan(at, std::min(step, stream.size() - at));
    waiting.insert(waiting.end(), now.begin(), now.end());
    do {
      const std::size_t taken = reader.feed(waiting);
      require(taken <= waiting.size());
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
      consumer.run();
    } while (reader.blocked());
    require(reader.failed() || waiting.size() < reader.window_bytes());
  }
  require(!reader.failed() || !reader.reason().empty());
  read_answer(stream.first(std::min<std::size_t>(stream.size(), kMessageBytesMax)), shm::kFlagPair);
  return 0;
}
