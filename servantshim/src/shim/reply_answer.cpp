// SPDX-License-Identifier: Apache-2.0
// The half of ReplyReader that makes reply frames: from the stream, from memory, of our own.
#include <algorithm>
#include <cstring>

#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"
#include "shim/peer_answer.hpp"
#include "shim/reply_reader.hpp"
#include "shim/type_codes.hpp"

namespace mserve::shim {

namespace {

constexpr std::size_t kFlowExtBytes = shm::ext_bytes_of(sizeof(shm::FlowExt));
/// A buffer larger than this is given back after use.
constexpr std::size_t kKeptBytes = std::size_t{1} << 20;

}  // namespace

ReplyReader::Turn ReplyReader::begin_stream(std::uint64_t result_bytes,
                                            std::span<const std::byte> front) {
  validator_.emplace(left_);
  if (validator_->feed(front) != kdb::Errc::ok) {
    return malformed("a reply that is no kdb+ object");
  }
  begin_ += front.size();
  left_ -= front.size();
  flow_bytes_ = result_bytes;
  flow_offset_ = 0;
  flow_status_ = Errc::ok;
  phase_ = Phase::stream;
  return Turn::again;
}

/// One piece, from the buffer or straight from q, into a fragment.
ReplyReader::Turn ReplyReader::stream(QLink& q, Rings& rings) {
  const std::uint64_t most = std::min(left_, shm::fragment_payload_bytes(rings.out.capacity()));
  std::size_t bytes =
      static_cast<std::size_t>(buffered() > 0 ? std::min<std::uint64_t>(most, buffered()) : most);
  std::byte* const frame = rings.out.try_claim(
      static_cast<std::uint32_t>(shm::kFrameHeaderBytes + kFlowExtBytes + bytes));
  if (frame == nullptr) {
    return Turn::blocked;
  }
  std::byte* const payload = frame + shm::kFrameHeaderBytes + kFlowExtBytes;
  if (buffered() > 0) {
    std::memcpy(payload, buffer_.data() + begin_, bytes);
    begin_ += bytes;
  } else {
    const Transfer got = q.receive({payload, bytes});
    if (got.outcome != Outcome::moved) {
      return got.outcome == Outcome::blocked ? Turn::idle : Turn::lost;
    }
    bytes = got.bytes;
    received_bytes_ += bytes;
  }
  return commit_piece(rings, frame, bytes);
}

/// Publishes a claimed fragment, unless its bytes are no part of an object.
ReplyReader::Turn ReplyReader::commit_piece(Rings& rings, std::byte* frame, std::size_t bytes) {
  const std::byte* const payload = frame + shm::kFrameHeaderBytes + kFlowExtBytes;
  left_ -= bytes;
  // Our own memory: nobody else can write it, so what is validated is what is committed.
  if (validator_->feed({payload, bytes}) != kdb::Errc::ok || (left_ == 0 && !validator_->done())) {
    return malformed("a reply that is no kdb+ object");
  }
  if (flow_offset_ == 0 && payload[0] == kErrorByte) {
    flow_status_ = Errc::failed;
  }
  (void)shm::put_extension(frame + shm::kFrameHeaderBytes, shm::ExtType::flow, 0,
                           shm::FlowExt{flow_offset_, flow_bytes_});
  shm::FrameHeader header = reply_header(flow_status_);
  header.ext_bytes = kFlowExtBytes;
  header.frame_bytes = static_cast<std::uint32_t>(shm::kFrameHeaderBytes + kFlowExtBytes + bytes);
  rings.out.commit(header);
  rings.committed = true;
  begun_ = true;
  flow_offset_ += bytes;
  if (left_ == 0) {
    claimed_ = begun_ = false;
    validator_.reset();
    phase_ = Phase::header;
  }
  return Turn::again;
}

ReplyReader::Turn ReplyReader::begin_gather() {
  gathered_.assign(header_bytes_.begin(), header_bytes_.end());
  phase_ = Phase::gather;
  return Turn::again;
}

/// Through the buffer: memory grows with what arrived, never with what was promised.
ReplyReader::Turn ReplyReader::gather(QLink& q) {
  const std::size_t there = static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffered()));
  if (there > 0) {
    const auto from = buffer_.begin() + static_cast<std::ptrdiff_t>(begin_);
    gathered_.insert(gathered_.end(), from, from + static_cast<std::ptrdiff_t>(there));
    begin_ += there;
    left_ -= there;
  }
  if (left_ == 0) {
    return use_gathered();
  }
  return fill(q);
}

/// A whole message lies in gathered_: makes it plain and little endian, and answers.
ReplyReader::Turn ReplyReader::use_gathered() {
  if (header_.compression != kdb::Compression::none) {
    kdb::Result<std::vector<std::byte>> plain = kdb::decompress(gathered_, bounds_.max_gathered);
    if (!plain && plain.error().code == kdb::Errc::too_large) {
      return claimed_ ? answer_error("limit") : answer_unread();
    }
    if (!plain) {
      return malformed("a compressed message: " + kdb::to_text(plain.error()));
    }
    gathered_ = *std::move(plain);
  }
  const std::span<std::byte> body = std::span(gathered_).subspan(kdb::kHeaderBytes);
  if (header_.order == kdb::ByteOrder::big) {
    const kdb::Result<std::int8_t> swapped = kdb::swap_byte_order(body, kdb::ByteOrder::big);
    if (!swapped) {
      return malformed("a reply that is no kdb+ object: " + kdb::to_text(swapped.error()));
    }
  }
  if (!claimed_) {
    const LbtOpening opening = lbt_opening(body, kdb::ByteOrder::little);
    if (!opening.is_reply) {
      warn_("q sent an async message that is no (qid; result); it is ignored");
      return skip_rest();
    }
    if (!claim(opening.qid)) {
      return skip_rest();
    }
    if (too_early()) {
      return malformed(kTooEarly);
    }
  }
  return answer(body);
}

/// Answers with a body that lies in memory and stays there until it is sent.
ReplyReader::Turn ReplyReader::answer(std::span<const std::byte> body) {
  const kdb::Result<std::int8_t> type = kdb::validate(body);
  if (!type) {
    return malformed("a reply that is no kdb+ object: " + kdb::to_text(type.error()));
  }
  if (body.size() > bounds_.message_bytes_max) {
    return answer_error("limit");
  }
  if (form_ == Form::lbt) {
    return answer_lbt(body);
  }
  return answer_bytes(body, body[0] == kErrorByte ? Errc::failed : Errc::ok, /*pair=*/false);
}

ReplyReader::Turn ReplyReader::answer_lbt(std::span<const std::byte> body) {
  constexpr std::string_view kNoReply = "the reply is not (qid; result) or (qid; result; info)";
  const LbtOpening opening = lbt_opening(body, kdb::ByteOrder::little);
  const std::span<const std::byte> rest = body.subspan(opening.result_offset);
  if (opening.joined) {
    if (opening.items != 2) {
      return answer_error(kNoReply);
    }
    own_.clear();
    own_.put(kLongAtomByte);
    own_.put(rest);
    return answer_bytes(own_.view(), Errc::ok, /*pair=*/false);
  }
  if (opening.items == 2) {
    return answer_bytes(rest, Errc::ok, /*pair=*/false);
  }
  if (opening.items == 3) {
    const kdb::Result<std::size_t> result_bytes = kdb::skip(rest);
    const auto info = static_cast<std::int8_t>(rest[result_bytes ? *result_bytes : 0]);
    if (result_bytes && peer_) {
      return answer_peer(rest.first(*result_bytes), rest.subspan(*result_bytes));
    }
    if (result_bytes && is_dictionary(info)) {
      return answer_bytes(rest, Errc::ok, /*pair=*/true);
    }
  }
  return answer_error(kNoReply);
}

ReplyReader::Turn ReplyReader::answer_peer(std::span<const std::byte> result,
                                           std::span<const std::byte> info) {
  const std::optional<PeerAnswer> answer = read_peer_answer(result, info);
  if (!answer) {
    return answer_error("the peer's answer is not that of a broker to its link");
  }
  made_.clear();
  if (answer->status == Errc::ok) {
    made_.insert(made_.end(), result.begin(), result.end());
    made_.insert(made_.end(), answer->info.begin(), answer->info.end());
    return answer_bytes(made_, Errc::ok, /*pair=*/true);
  }
  if (answer->never_ran()) {
    warn_("the peer did not run a request: " + answer->error);
  }
  const std::span<const std::byte> text = std::as_bytes(std::span(answer->error));
  made_.push_back(kErrorByte);
  made_.insert(made_.end(), text.begin(), std::find(text.begin(), text.end(), std::byte{0}));
  made_.push_back(std::byte{0});
  return answer_bytes(made_, answer->never_ran() ? answer->status : Errc::failed, /*pair=*/false);
}

ReplyReader::Turn ReplyReader::answer_error(std::string_view text) {
  own_.clear();
  put_error(own_, text);
  return answer_bytes(own_.view(), Errc::failed, /*pair=*/false);
}

ReplyReader::Turn ReplyReader::answer_bytes(std::span<const std::byte> payload, Errc status,
                                            bool pair) {
  if (!claimed_) {
    return skip_rest();
  }
  if (!target_.sent) {
    return keep_early(payload, status, pair);
  }
  answer_header_ = reply_header(status);
  answer_header_.flags = pair ? shm::kFlagPair : std::uint8_t{0};
  answer_ = payload;
  if (payload.size() > whole_max_) {
    answer_flow_.emplace(answer_header_, payload);
  }
  phase_ = Phase::sending;
  return Turn::again;
}

ReplyReader::Turn ReplyReader::keep_early(std::span<const std::byte> payload, Errc status,
                                          bool pair) {
  early_ = Early{target_.qid, status, pair, {payload.begin(), payload.end()}};
  claimed_ = false;
  return skip_rest();
}

/// @return whether its time has come: it is the answer to send now.
bool ReplyReader::tell_early() {
  const Question* const asked = questions_.find(early_->qid);
  if (asked != nullptr && !asked->sent) {
    return false;
  }
  Early early = std::move(*early_);
  early_.reset();
  if (asked == nullptr || !questions_.take(early.qid, target_) || target_.orphan) {
    return false;  // it was given up meanwhile
  }
  claimed_ = true;
  made_ = std::move(early.payload);
  (void)answer_bytes(made_, early.status, early.pair);
  return true;
}

ReplyReader::Turn ReplyReader::send_answer(Rings& rings) {
  const bool sent = answer_flow_ ? answer_flow_->step(rings.out)
                                 : shm::try_send_whole(rings.out, answer_header_, {}, answer_);
  if (!sent) {
    return Turn::blocked;
  }
  rings.committed = true;
  begun_ = answer_flow_.has_value();
  if (answer_flow_ && !answer_flow_->done()) {
    return Turn::again;
  }
  answer_flow_.reset();
  claimed_ = begun_ = false;
  for (std::vector<std::byte>* const bytes : {&gathered_, &made_}) {
    if (bytes->capacity() > kKeptBytes) {
      *bytes = {};
    }
  }
  return skip_rest();  // of the body, if it was not gathered
}

}  // namespace mserve::shim
