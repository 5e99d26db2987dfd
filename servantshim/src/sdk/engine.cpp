// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

#include <new>

#include "mserve/shm/frame.hpp"

namespace mserve::servant {
namespace {

/// q's word for it; short enough to be stored without memory.
constexpr const char* kNoMemory = "wsfull";

}  // namespace

void Engine::attach(const Bounds& bounds) {
  bounds_ = bounds;
  fault_ = Errc::ok;
  slots_.clear();
  slots_.resize(bounds.credit);
  free_.clear();
  free_.reserve(bounds.credit);
  for (std::size_t i = slots_.size(); i > 0; --i) {
    free_.push_back(i - 1);
  }
  ready_.assign(bounds.credit, 0);
  ready_first_ = 0;
  ready_count_ = 0;
  assembler_.emplace(bounds.message_bytes_max);
  replying_ = kNone;
  reply_flow_.reset();
  reply_value_ = kdb::Value();
  reply_view_ = {};
  reply_bytes_ = {};
}

Progress Engine::step(shm::RingProducer& out, shm::RingConsumer& in) {
  bool read_any = false;
  if (!drain(in, read_any)) {
    return Progress::broken;
  }
  if (replying_ == kNone) {
    if (ready_count_ == 0) {
      return read_any ? Progress::worked : Progress::idle;
    }
    start_next();
  }
  return send(out);
}

Progress Engine::finish(shm::RingProducer& out, shm::RingConsumer& in) {
  bool read_any = false;
  if (!drain(in, read_any)) {
    return Progress::broken;
  }
  if (replying_ == kNone) {
    return read_any ? Progress::worked : Progress::idle;
  }
  return send(out);
}

bool Engine::drain(shm::RingConsumer& in, bool& read_any) {
  if (fault_ != Errc::ok) {
    return false;
  }
  shm::FrameView frame;
  for (int taken = 0; taken < kFramesPerStep; ++taken) {
    const Errc got = in.front(frame);
    if (got == Errc::empty) {
      return true;
    }
    const Errc fault = got == Errc::ok ? take(frame) : got;
    if (fault != Errc::ok) {
      (void)broken(fault);
      return false;
    }
    in.release();
    read_any = true;
  }
  return true;
}

Errc Engine::take(const shm::FrameView& frame) {
  if (frame.header.kind == shm::Kind::request) {
    return take_request(frame);
  }
  if (frame.header.kind == shm::Kind::abort) {
    take_abort(frame.header.id);
  }
  return Errc::ok;  // other kinds mean nothing to a servant
}

Errc Engine::take_request(const shm::FrameView& frame) {
  shm::Extensions extensions;
  if (!shm::parse_extensions(frame.extensions, extensions)) {
    return Errc::bad_frame;
  }
  if (extensions.has_flow) {
    return take_fragment(frame, extensions.flow);
  }
  const std::size_t index = open_slot(frame.header);
  if (index == kNone) {
    return Errc::protocol;
  }
  Slot& slot = slots_[index];
  try {
    slot.payload.assign(frame.payload.begin(), frame.payload.end());
  } catch (const std::bad_alloc&) {
    slot.refusal = kNoMemory;
  }
  make_ready(index);
  return Errc::ok;
}

Errc Engine::take_fragment(const shm::FrameView& frame, const shm::FlowExt& flow) {
  std::size_t index = find_arriving(frame.header.id);
  if (index == kNone) {
    index = flow.offset == 0 ? open_slot(frame.header) : kNone;
    if (index == kNone) {
      return Errc::protocol;
    }
    slots_[index].state = State::arriving;
  }
  Slot& slot = slots_[index];
  if (slot.state == State::arriving) {
    Errc added = Errc::ok;
    try {
      added = assembler_->add(frame.header.id, flow, frame.payload, slot.payload);
    } catch (const std::bad_alloc&) {
      assembler_->drop(frame.header.id);
      slot.refusal = kNoMemory;
      added = Errc::too_large;
    }
    if (added == Errc::ok) {
      make_ready(index);
    } else if (added == Errc::too_large) {
      slot.state = State::refused;
      slot.refusal = slot.refusal.empty() ? "limit" : slot.refusal;
    } else if (added != Errc::empty) {
      return added;
    }
  }
  // Of a refused request the rest is passed over, and the error is sent when the broker is through
  // with it.
  if (slot.state == State::refused && frame.payload.size() >= flow.total_bytes - flow.offset) {
    make_ready(index);
  }
  return Errc::ok;
}

void Engine::take_abort(std::uint64_t id) noexcept {
  const std::size_t index = find_arriving(id);
  if (index != kNone) {
    assembler_->drop(id);
    free_slot(index);
  }
}

std::size_t Engine::find_arriving(std::uint64_t id) const noexcept {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const State state = slots_[i].state;
    if (slots_[i].id == id && (state == State::arriving || state == State::refused)) {
      return i;
    }
  }
  return kNone;
}

std::size_t Engine::open_slot(const shm::FrameHeader& header) noexcept {
  if (free_.empty()) {
    return kNone;
  }
  const std::size_t index = free_.back();
  free_.pop_back();
  slots_[index].id = header.id;
  slots_[index].flags = header.flags;
  return index;
}

void Engine::free_slot(std::size_t index) noexcept {
  Slot& slot = slots_[index];
  slot.state = State::free;
  slot.refusal.clear();
  if (slot.payload.capacity() > kKeptBytes) {
    slot.payload = {};
  }
  free_.push_back(index);  // reserved by attach()
}

void Engine::make_ready(std::size_t index) noexcept {
  slots_[index].state = State::ready;
  ready_[(ready_first_ + ready_count_) % ready_.size()] = index;
  ++ready_count_;
}

Progress Engine::broken(Errc fault) noexcept {
  fault_ = fault;
  return Progress::broken;
}

}  // namespace mserve::servant
