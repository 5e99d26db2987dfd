// SPDX-License-Identifier: Apache-2.0
#include "shim/exchange.hpp"

#include <utility>

namespace mserve::shim {

Exchange::Exchange(WarnFunction warn, bool peer)
    : warn_(std::move(warn)),
      peer_(peer),
      reader_(questions_, warn_, peer),
      writer_(questions_, peer) {}

void Exchange::connect(Form form, std::uint8_t capability, bool takes_cancels) {
  questions_.clear();
  reader_.connect(form);
  writer_.connect(form, capability, takes_cancels);
  ended_ = Progress::idle;
  send_lost_ = false;
  fault_text_.clear();
}

void Exchange::attach(const Bounds& bounds) {
  questions_.reserve(std::size_t{2} * bounds.credit + 2);
  reader_.attach({.servant = bounds.servant,
                  .ring_capacity = bounds.out_ring_bytes,
                  .max_gathered = bounds.max_gathered,
                  .message_bytes_max = bounds.message_bytes_max});
  writer_.attach(bounds.servant, bounds.credit, bounds.max_gathered);
  fault_ = Errc::ok;
}

bool Exchange::detach() {
  const bool whole = writer_.detach();
  questions_.orphan_all();
  reader_.detach();
  return whole;
}

Progress Exchange::step(QLink& q, Rings* rings, bool look_at_q, std::uint64_t now_ns) {
  if (fault_ != Errc::ok && rings != nullptr) {
    return Progress::broker_broken;
  }
  if (ended_ != Progress::idle) {
    return ended_;
  }
  // Answers first: whoever waits for one waits longest.
  const Progress reading = look_at_q || send_lost_ || awaiting() ? read(q, rings) : Progress::idle;
  if (ended_ != Progress::idle) {
    return ended_;
  }
  if (rings != nullptr && rings->out.poisoned()) {
    return broken(Errc::cursor_out_of_range);
  }
  if (send_lost_) {
    return reading == Progress::idle ? ended(Progress::q_lost, "it takes no more bytes") : reading;
  }
  const Progress writing = write(q, rings, now_ns);
  if (writing == Progress::q_cut || writing == Progress::broker_broken) {
    return writing;
  }
  if (reading == Progress::worked || writing == Progress::worked) {
    return Progress::worked;
  }
  return reading == Progress::idle ? writing : reading;
}

Progress Exchange::read(QLink& q, Rings* rings) {
  const ReplyReader::Step step = reader_.step(q, rings);
  for (std::uint32_t n = reader_.take_sync_count(); n > 0; --n) {
    writer_.owe_nyi();
  }
  switch (step) {
    case ReplyReader::Step::idle:
      return Progress::idle;
    case ReplyReader::Step::worked:
      return Progress::worked;
    case ReplyReader::Step::waits_for_ring:
      return Progress::waits_for_ring;
    case ReplyReader::Step::lost:
      // A reply that has begun is not aborted here: the end of the session tells the broker so,
      // and unlike an abort does not let it hand us the next request first.
      return ended(Progress::q_lost, "it hung up");
    case ReplyReader::Step::malformed:
      break;
  }
  return malformed(rings);
}

/// Nothing that q sends can be believed any more, but it may be told so in a new connection.
Progress Exchange::malformed(Rings* rings) {
  const bool answered = rings != nullptr && reader_.give_up(*rings, "badmsg");
  const bool alone = questions_.only_probes() && writer_.idle();
  return ended(answered && alone ? Progress::q_cut : Progress::q_lost,
               "it sent " + reader_.fault());
}

Progress Exchange::write(QLink& q, Rings* rings, std::uint64_t now_ns) {
  switch (writer_.step(q, rings, taking_, now_ns)) {
    case RequestWriter::Step::idle:
      return Progress::idle;
    case RequestWriter::Step::worked:
      return Progress::worked;
    case RequestWriter::Step::waits_for_q:
      return Progress::waits_for_q;
    case RequestWriter::Step::waits_for_ring:
      return Progress::waits_for_ring;
    case RequestWriter::Step::broken:
      return broken(writer_.fault());
    case RequestWriter::Step::lost:
      send_lost_ = true;  // what it sent before it went may still be read
      return Progress::worked;
    case RequestWriter::Step::cut:
      break;
  }
  // q waits for bytes that will not come. What it was asked before, it still answers.
  if (questions_.requests() > 0 || questions_.has_probe() || reader_.busy()) {
    return Progress::idle;
  }
  return ended(Progress::q_cut, "a large request ended in the middle of its message");
}

Progress Exchange::ended(Progress how, std::string text) {
  ended_ = how;
  fault_text_ = std::move(text);
  return how;
}

Progress Exchange::broken(Errc fault) noexcept {
  fault_ = fault;
  return Progress::broker_broken;
}

}  // namespace mserve::shim
