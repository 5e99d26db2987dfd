// SPDX-License-Identifier: Apache-2.0
// Any bytes from q, in any pieces, while requests wait: whatever the shim hands to the broker is a
// whole object of a request that was waiting, once each, and flows are in order. The input is a
// script: a byte that chooses form, ring and whether q is a broker, then messages, each with a byte
// that says how it is framed. If q is a broker, the last byte says which requests are cancelled
// meanwhile, and others take the places of those that were answered.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"
#include "shim/exchange.hpp"

namespace {

using namespace mserve;
using namespace mserve::shim;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kRequests = 3;      ///< At once.
constexpr std::uint64_t kRequestsMax = 12;  ///< One after the other.
constexpr std::uint64_t kGathered = 1 << 16;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

/// Takes bytes from the front of the input; zeros once it is used up.
class Script {
 public:
  explicit Script(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::size_t number() {
    const std::size_t value = empty() ? 0 : std::to_integer<std::size_t>(bytes_[0]);
    (void)take(1);
    return value;
  }
  std::span<const std::byte> take(std::size_t count) {
    const auto taken = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
};

class Stream final : public QLink {
 public:
  Transfer send(std::span<const Piece> pieces) noexcept override {
    std::size_t sent = 0;
    for (const Piece& piece : pieces) {
      sent += piece.size();
    }
    return {Outcome::moved, sent};
  }
  Transfer receive(std::span<std::byte> into) noexcept override {
    const std::size_t now = std::min({into.size(), bytes.size() - used, chunk});
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(used), now, into.begin());
    used += now;
    return {now > 0 ? Outcome::moved : Outcome::lost, now};
  }
  Bytes bytes;
  std::size_t used = 0;
  std::size_t chunk = 1;
};

/// One message as the script frames it: raw bytes, or a body behind a right header.
void add_message(Script& script, Form form, Bytes& stream) {
  const std::size_t how = script.number();
  const std::size_t size = script.number() * (how & 1 ? 1 : 64);
  std::span<const std::byte> given = script.take(size);
  if ((how & 2) != 0) {
    stream.insert(stream.end(), given.begin(), given.end());
    return;
  }
  OwnBytes prefix;
  if (form == Form::lbt && (how & 4) != 0) {
    put_lbt_prefix(prefix, 2 + (how >> 3 & 1), 1 + (how >> 4 & 3));
  }
  const bool big = (how & 64) != 0;
  kdb::Header header;
  header.kind = form == Form::plain ? kdb::MessageKind::response : kdb::MessageKind::async;
  header.order = big ? kdb::ByteOrder::big : kdb::ByteOrder::little;
  header.message_bytes = kdb::kHeaderBytes + prefix.size() + given.size();
  const auto head = kdb::write_header(header);
  Bytes message(head.begin(), head.end());
  message.insert(message.end(), prefix.view().begin(), prefix.view().end());
  message.insert(message.end(), given.begin(), given.end());
  const auto packed = (how & 128) != 0 ? kdb::compress(message) : std::nullopt;
  const Bytes& sent = packed ? *packed : message;
  stream.insert(stream.end(), sent.begin(), sent.end());
}

struct Ring {
  explicit Ring(std::uint64_t bytes) : capacity(bytes), lines(bytes / sizeof(Line)) {}
  shm::RingMemory memory() {
    return {lines.data()->bytes, capacity, 0, &producer_pos, &consumer_pos, &polled};
  }
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::uint64_t capacity;
  std::vector<Line> lines;
  std::atomic<std::uint64_t> producer_pos{0};
  std::atomic<std::uint64_t> consumer_pos{0};
  std::atomic<std::uint32_t> polled{static_cast<std::uint32_t>(shm::Polled::polling)};
};

/// Judges what reaches the broker.
class Judge {
 public:
  /// A request went out. @return its id.
  std::uint64_t ask() { return ++asked_; }
  [[nodiscard]] std::uint64_t asked() const { return asked_; }
  [[nodiscard]] bool waits_for(std::uint64_t id) const { return !ended_.contains(id); }
  [[nodiscard]] std::uint64_t waiting() const { return asked_ - ended_.size(); }
  void read(shm::RingConsumer& in) {
    shm::FrameView frame;
    while (in.front(frame) == Errc::ok) {
      take(frame);
      in.release();
    }
  }

 private:
  void take(const shm::FrameView& frame) {
    const std::uint64_t id = frame.header.id;
    require(id >= 1 && id <= asked_ && waits_for(id));
    if (frame.header.kind == shm::Kind::abort) {
      require(!flows_[id].empty());
      ended_.insert(id);
      return;
    }
    shm::Extensions extensions;
    require(frame.header.kind == shm::Kind::reply &&
            shm::parse_extensions(frame.extensions, extensions));
    Bytes& bytes = flows_[id];
    require(!extensions.has_flow || extensions.flow.offset == bytes.size());
    require(extensions.has_flow || bytes.empty());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    if (!extensions.has_flow || bytes.size() == extensions.flow.total_bytes) {
      ended_.insert(id);
      judge(frame.header, bytes);
    }
  }
  static void judge(const shm::FrameHeader& header, std::span<const std::byte> bytes) {
    const auto first = kdb::skip(bytes);
    require(first.ok());
    const bool error = bytes[0] == std::byte{0x80};
    require(error == (shm::unpack_reply(header.aux).status != 0));
    if ((header.flags & shm::kFlagPair) != 0) {
      const auto info = kdb::validate(bytes.subspan(*first));
      require(!error && info.ok() && (*info == 99 || *info == 127));
    } else {
      require(*first == bytes.size());
    }
  }
  std::map<std::uint64_t, Bytes> flows_;
  std::set<std::uint64_t> ended_;
  std::uint64_t asked_ = 0;
};

/// What the broker sends.
class Asker {
 public:
  Asker(shm::RingProducer& out, Judge& judge) : out_(out), judge_(judge) {}

  void ask() {
    const Bytes query = {std::byte{0xff}, std::byte{1}};  // 1b
    shm::FrameHeader header;
    header.kind = shm::Kind::request;
    header.id = judge_.ask();
    require(shm::try_send_whole(out_, header, {}, query));
  }
  /// Bits 0 to 4 of `plan`: which requests; bits 5 to 7: how late.
  void go_on(std::size_t plan) {
    ++turns_;
    for (std::uint64_t id = 1; id <= judge_.asked(); ++id) {
      const bool chosen = (plan >> (id % 5) & 1) != 0 && turns_ >= (plan >> 5) * id;
      if (chosen && judge_.waits_for(id) && cancelled_.insert(id).second) {
        shm::FrameHeader header;
        header.kind = shm::Kind::cancel;
        header.id = id;
        require(shm::try_send_whole(out_, header, {}, {}));
      }
    }
    while (judge_.waiting() < kRequests && judge_.asked() < kRequestsMax) {
      ask();
    }
  }

 private:
  shm::RingProducer& out_;
  Judge& judge_;
  std::set<std::uint64_t> cancelled_;
  std::uint64_t turns_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script({reinterpret_cast<const std::byte*>(data), size});
  const std::size_t choice = script.number();
  const Form form = (choice & 1) != 0 ? Form::lbt : Form::plain;
  Ring to(4096);
  Ring from(std::uint64_t{4096} << (choice >> 1 & 3));
  shm::RingProducer broker_out(to.memory());
  shm::RingConsumer broker_in(from.memory());
  shm::RingProducer out(from.memory());
  shm::RingConsumer in(to.memory());
  const bool peer = form == Form::lbt && (choice & 128) != 0;
  Exchange exchange([](std::string_view) {}, peer);
  exchange.connect(form, 6);
  exchange.attach({.servant = 1,
                   .credit = kRequests,
                   .out_ring_bytes = from.capacity,
                   .message_bytes_max = 1 << 20,
                   .max_gathered = kGathered});
  Judge judge;
  Asker asker(broker_out, judge);
  for (std::uint64_t n = 0; n < kRequests; ++n) {
    asker.ask();
  }
  Stream q;
  q.chunk = 1 + (choice >> 3) * 100;
  Rings rings{out, in};
  require(exchange.step(q, &rings, /*look_at_q=*/false, 0) == Progress::worked);
  while (!script.empty()) {
    add_message(script, form, q.bytes);
  }
  for (Progress last = Progress::worked; last != Progress::q_lost && last != Progress::q_cut;) {
    last = exchange.step(q, &rings, /*look_at_q=*/true, 0);
    require(last != Progress::broker_broken);
    judge.read(broker_in);
    if (peer) {
      asker.go_on(data[size - 1]);
    }
  }
  return 0;
}
