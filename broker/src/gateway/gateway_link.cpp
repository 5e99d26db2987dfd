// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway_link.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace mserve::broker {

namespace {

constexpr std::uint64_t kOriginExtBytes = shm::ext_bytes_of(sizeof(std::uint64_t));
constexpr std::uint64_t kFlowExtBytes = shm::ext_bytes_of(sizeof(shm::FlowExt));

std::byte* put_origin(std::byte* to, OriginId origin) noexcept {
  return shm::put_extension(to, shm::ExtType::origin, origin.index, origin.generation);
}

Errc status_of(std::uint64_t aux) noexcept {
  return static_cast<Errc>(shm::unpack_reply(aux).status);
}

/// An abort's code, never one that would pass for an answer.
Errc abort_code(std::uint64_t aux) noexcept {
  const auto code = static_cast<Errc>(static_cast<std::uint16_t>(aux));
  return code == Errc::ok || code == Errc::failed ? Errc::servant_died : code;
}

}  // namespace

GatewayLink::GatewayLink(std::unique_ptr<GatewaySession> session) noexcept
    : session_(std::move(session)) {
  const std::uint64_t ring = session_->outgoing().capacity();
  const std::uint64_t frame_max =
      std::min<std::uint64_t>(shm::frame_bytes_max(ring), session_->info().frame_bytes_max);
  whole_bytes_max_ =
      frame_max - shm::kFrameHeaderBytes - kOriginExtBytes - shm::RequestTerms::kBytesMax;
  fragment_bytes_max_ =
      std::min(whole_bytes_max_ - kFlowExtBytes, shm::fragment_payload_bytes(ring));
}

bool GatewayLink::send_request(const RequestHead& head, std::span<const std::byte> extensions,
                               std::span<const std::byte> payload) noexcept {
  shm::FrameHeader header;
  header.kind = shm::Kind::request;
  header.flags = head.flags;
  header.id = head.id;
  header.aux = head.route;
  const bool sent =
      aborts_.empty() && shm::try_send_whole(session_->outgoing(), header, extensions, payload);
  sent_ = sent_ || sent;
  return sent;
}

bool GatewayLink::try_send(const RequestHead& head, std::span<const std::byte> payload) noexcept {
  std::array<std::byte, kOriginExtBytes + shm::RequestTerms::kBytesMax> extensions;
  std::byte* end = put_origin(extensions.data(), head.origin);
  end = head.terms.put(end);
  return send_request(head, {extensions.data(), end}, payload);
}

bool GatewayLink::try_fragment(const RequestHead& head, const shm::FlowExt& flow,
                               std::span<const std::byte> payload) noexcept {
  std::array<std::byte, kOriginExtBytes + kFlowExtBytes + shm::RequestTerms::kBytesMax> extensions;
  std::byte* end = put_origin(extensions.data(), head.origin);
  end = shm::put_extension(end, shm::ExtType::flow, 0, flow);
  if (flow.offset == 0) {
    end = head.terms.put(end);
  }
  return send_request(head, {extensions.data(), end}, payload);
}

bool GatewayLink::try_put(shm::RingProducer& ring, shm::Kind kind, OriginId origin,
                          std::uint64_t id, std::uint64_t aux) noexcept {
  std::array<std::byte, kOriginExtBytes> extension;
  (void)put_origin(extension.data(), origin);
  shm::FrameHeader header;
  header.kind = kind;
  header.id = id;
  header.aux = aux;
  const bool sent = shm::try_send_whole(ring, header, extension, {});
  sent_ = sent_ || sent;
  return sent;
}

void GatewayLink::abort(std::uint64_t id, OriginId origin) {
  aborts_.push_back({origin, id});
  (void)flush();
}

void GatewayLink::gone(OriginId origin) {
  followers_.push_back({shm::Kind::gone, origin, 0, session_->outgoing().position()});
}

void GatewayLink::cancel(std::uint64_t id, OriginId origin) {
  followers_.push_back({shm::Kind::cancel, origin, id, session_->outgoing().position()});
}

bool GatewayLink::gone_waits(OriginId origin) const noexcept {
  return std::any_of(followers_.begin(), followers_.end(), [origin](const Follower& follower) {
    return follower.kind == shm::Kind::gone && follower.origin.generation == origin.generation;
  });
}

void GatewayLink::grant(OriginId origin, std::uint64_t bytes) {
  grants_.push_back({origin, bytes});
}

bool GatewayLink::flush() {
  shm::RingProducer& main = session_->outgoing();
  shm::RingProducer& control = session_->control();
  while (!aborts_.empty() &&
         try_put(main, shm::Kind::abort, aborts_.front().origin, aborts_.front().value,
                 static_cast<std::uint64_t>(Errc::cancelled))) {
    aborts_.pop_front();
  }
  while (!grants_.empty() &&
         try_put(control, shm::Kind::window, grants_.front().origin, 0, grants_.front().value)) {
    grants_.pop_front();
  }
  if (!followers_.empty()) {
    flush_followers();
  }
  if (std::exchange(sent_, false)) {
    session_->wake_broker();
  }
  return !waiting();
}

void GatewayLink::flush_followers() noexcept {
  shm::RingProducer& main = session_->outgoing();
  const std::uint64_t unread = main.unread();
  while (!followers_.empty()) {
    const Follower& first = followers_.front();
    const bool overtakes = main.position() - first.cursor < unread;
    if (overtakes || !try_put(session_->control(), first.kind, first.origin, first.id, 0)) {
      return;
    }
    followers_.pop_front();
  }
}

// hot: one acquire load when nothing is there; no copy of the payload.
Errc GatewayLink::next(LinkEvent& event) noexcept {
  shm::FrameView frame;
  const Errc code = session_->incoming().front(frame);
  if (code != Errc::ok) {
    return code;
  }
  shm::Extensions extensions;
  if (!shm::parse_extensions(frame.extensions, extensions)) {
    return Errc::bad_frame;
  }
  event.id = frame.header.id;
  event.flags = frame.header.flags;
  event.payload = frame.payload;
  event.has_info = extensions.has_info;
  event.servant = 0;
  switch (frame.header.kind) {
    case shm::Kind::reply:
      event.kind = extensions.has_flow ? LinkEvent::Kind::fragment : LinkEvent::Kind::reply;
      event.status = status_of(frame.header.aux);
      event.servant = shm::unpack_reply(frame.header.aux).servant;
      event.flow = extensions.flow;
      if (extensions.has_info) {
        event.info = extensions.info;
      }
      return Errc::ok;
    case shm::Kind::abort:
      event.kind = LinkEvent::Kind::aborted;
      event.status = abort_code(frame.header.aux);
      return Errc::ok;
    case shm::Kind::window:
      event.kind = LinkEvent::Kind::window;
      event.granted = frame.header.aux;
      return Errc::ok;
    case shm::Kind::gone:
      event.kind = LinkEvent::Kind::gone;
      event.status = abort_code(frame.header.aux);
      event.origin = {extensions.origin_index, extensions.origin_generation};
      return extensions.has_origin ? Errc::ok : Errc::bad_frame;
    case shm::Kind::request:
    case shm::Kind::padding:
    case shm::Kind::cancel:
      break;
  }
  return Errc::bad_frame;
}

}  // namespace mserve::broker
