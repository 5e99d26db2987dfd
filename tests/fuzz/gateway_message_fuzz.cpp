// SPDX-License-Identifier: Apache-2.0
// Any bytes as what a client sends behind its handshake. The reader gives the same messages however
// the bytes are cut, as a slow obvious reading of the whole does; a beginning is classified as its
// whole; and every answer made from pieces of a message is well formed. The first three input bytes
// choose chunks, pieces, holding and rules.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "gateway/admin_call.hpp"
#include "gateway/answer.hpp"
#include "gateway/conventions.hpp"
#include "gateway/message_reader.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"

namespace {

using namespace mserve::broker;
namespace kdb = mserve::kdb;
using Bytes = std::vector<std::byte>;
using Span = std::span<const std::byte>;
using What = MessageReader::What;

constexpr std::uint64_t kGatherMax = 64;
constexpr std::uint64_t kHeldMax = 4096;
constexpr std::uint64_t kMessageMax = 1 << 16;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

struct Choice {
  std::size_t chunk_bytes = 1;
  std::size_t piece_bytes_max = 1;
  bool hold = false;
  ConventionRules rules;
};

struct Message {
  kdb::MessageKind kind = kdb::MessageKind::async;
  Bytes body;
  friend bool operator==(const Message&, const Message&) = default;
};

struct Outcome {
  std::vector<Message> messages;
  bool failed = false;
};

bool is_plain(const kdb::Header& header) {
  return header.compression == kdb::Compression::none && header.order == kdb::ByteOrder::little;
}

/// The body of one whole message, plain and little endian; empty when it is refused.
Bytes body_of(Span message, const kdb::Header& header) {
  Bytes whole(message.begin(), message.end());
  if (header.compression != kdb::Compression::none) {
    auto plain = kdb::decompress(message, kHeldMax + kdb::kHeaderBytes);
    whole = plain ? *plain : Bytes(kdb::kHeaderBytes);
  }
  const std::span<std::byte> body = std::span(whole).subspan(kdb::kHeaderBytes);
  const auto type = header.order == kdb::ByteOrder::little
                        ? kdb::validate(body)
                        : kdb::swap_byte_order(body, kdb::ByteOrder::big);
  return type ? Bytes(body.begin(), body.end()) : Bytes();
}

/// What should come out of the whole stream. A last message that is not complete is left out; one
/// that comes in pieces may be refused before its end, so that is left open.
Outcome expected_of(Span stream, bool hold, bool& open_end) {
  Outcome outcome;
  while (stream.size() >= kdb::kHeaderBytes) {
    const auto header = kdb::parse_header(stream);
    if (!header || header->message_bytes > kMessageMax) {
      outcome.failed = true;
      break;
    }
    const std::uint64_t body_bytes = header->message_bytes - kdb::kHeaderBytes;
    const bool streams = is_plain(*header) && body_bytes > kGatherMax;
    const bool must_hold = !streams || hold;
    const std::uint64_t seen = stream.size() - kdb::kHeaderBytes;
    const bool begun = !streams || seen >= std::min<std::uint64_t>(body_bytes, kStreamHeadBytes);
    if (must_hold && begun && body_bytes > kHeldMax) {
      outcome.failed = true;
      break;
    }
    if (header->message_bytes > stream.size()) {
      open_end = streams && !hold;
      break;
    }
    Bytes body = body_of(stream.first(header->message_bytes), *header);
    if (body.empty()) {
      outcome.failed = true;
      break;
    }
    outcome.messages.push_back({header->kind, std::move(body)});
    stream = stream.subspan(header->message_bytes);
  }
  return outcome;
}

bool lies_in(Span part, Span whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

/// `before`, a result, `after`: one well-formed message.
void check_answer(const Wrapping& wrapping) {
  const Span result = flush_answer().subspan(kdb::kHeaderBytes);
  const Span before = wrapping.before.span();
  Bytes message(before.begin(), before.end());
  message.insert(message.end(), result.begin(), result.end());
  message.insert(message.end(), wrapping.after.begin(), wrapping.after.end());
  require(message.size() == wrapping.message_bytes);
  require(kdb::validate_message(message).ok());
}

void check_classified(const Classified& seen, Span body) {
  for (const Span part : {seen.payload, seen.query, seen.options, seen.id, seen.callback}) {
    require(lies_in(part, body));
    require(part.empty() || part.data() == seen.payload.data() || kdb::validate(part).ok());
  }
  const std::size_t result_bytes = flush_answer().size() - kdb::kHeaderBytes;
  if (seen.convention == Convention::lbt) {
    require(seen.options.empty() ? kdb::validate(seen.payload).ok()
                                 : split_pair(seen.payload).has_value());
    check_answer(wrap_lbt(seen.id, info_object({}, "r", seen.options), result_bytes));
  } else if (seen.convention == Convention::np) {
    check_answer(wrap_np(seen.callback, 1, seen.query, result_bytes));
  }
  const bool request = seen.convention != Convention::flush &&
                       seen.convention != Convention::ignored &&
                       seen.convention != Convention::refused;
  require(request == !seen.payload.empty());
  require(seen.reason.empty() == (seen.convention != Convention::refused));
  if (request) {
    require(!parse_admin_call(seen.query) || may_be_admin_call(seen.query));
  }
}

/// Any beginning of the body, and the whole of it.
void check_conventions(const Message& message, const ConventionRules& rules, std::size_t head_bytes,
                       History& history) {
  const Span body = message.body;
  History of_head = history;
  const Span beginning = body.first(std::min(head_bytes, body.size()));
  const StreamHead head = classify_head(message.kind, beginning, rules, of_head);
  const Classified whole = classify(message.kind, body, rules, history);
  check_classified(whole, body);
  if (head.gather || beginning.empty() || whole.convention == Convention::flush) {
    return;
  }
  const bool bad_options =
      head.convention == Convention::lbt && head.pair && whole.convention != Convention::lbt;
  if (bad_options) {
    return;
  }
  require(head.convention == whole.convention && head.refused_as == whole.refused_as);
  require(of_head.known == history.known && of_head.last == history.last);
  if (!whole.payload.empty()) {
    require(body.data() + head.payload_offset == whole.payload.data());
    require(head.pair == !whole.options.empty());
  }
}

/// Takes all events of what was fed. False: the reader failed.
bool take_events(MessageReader& reader, const Choice& choice, std::vector<Message>& messages,
                 bool& complete) {
  for (;;) {
    const auto event = reader.next(choice.piece_bytes_max);
    if (event.what == What::more || event.what == What::failed) {
      require((event.what == What::failed) == !event.reason.empty());
      return event.what == What::more;
    }
    if (event.what == What::begin && choice.hold) {
      reader.hold();
      continue;
    }
    if (event.what != What::piece) {
      messages.push_back({event.header.kind, {}});
    }
    complete = event.what == What::whole || event.last;
    if (event.what != What::begin) {
      Bytes& body = messages.back().body;
      body.insert(body.end(), event.bytes.begin(), event.bytes.end());
    }
  }
}

Outcome read_in_chunks(Span stream, const Choice& choice) {
  MessageReader reader({kMessageMax, kGatherMax, kHeldMax});
  Outcome outcome;
  bool complete = true;
  while (!stream.empty() && !outcome.failed) {
    const Span part = stream.first(std::min(choice.chunk_bytes, stream.size()));
    const Bytes chunk(part.begin(), part.end());  // gone afterwards: nothing may point into it
    stream = stream.subspan(part.size());
    reader.feed(chunk);
    outcome.failed = !take_events(reader, choice, outcome.messages, complete);
    require(reader.held_bytes() <= 2 * kHeldMax + sizeof(kdb::StreamValidator));
  }
  if (!complete) {
    outcome.messages.pop_back();
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) {
    return 0;
  }
  Choice choice;
  choice.chunk_bytes = data[0] == 0 ? size : data[0];
  choice.piece_bytes_max = data[1] == 0 ? size : data[1];
  choice.hold = (data[2] & 1) != 0;
  choice.rules.protocol = static_cast<Protocol>((data[2] >> 1) & 3);
  choice.rules.ambiguous = (data[2] & 8) != 0 ? Convention::aw : Convention::np;
  const Span stream = std::as_bytes(std::span(data, size).subspan(3));
  bool open_end = false;
  const Outcome expected = expected_of(stream, choice.hold, open_end);
  const Outcome outcome = read_in_chunks(stream, choice);
  require(outcome.messages == expected.messages);
  require(open_end || outcome.failed == expected.failed);
  History history;
  for (const Message& message : expected.messages) {
    check_conventions(message, choice.rules, data[1], history);
  }
  return 0;
}
