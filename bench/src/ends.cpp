// SPDX-License-Identifier: Apache-2.0
#include "ends.hpp"

#include <stdexcept>

#include "interrupt.hpp"
#include "subcommand.hpp"

namespace mserve::bench {

void fail(const std::string& what) {
  throw std::runtime_error(what);
}

void fail_to_attach(Errc code, const std::string& what) {
  if (code == Errc::no_broker || code == Errc::access) {
    throw CannotMeasure(what);
  }
  fail(what);
}

void check_alive(shm::Attachment& attachment) {
  if (interrupted()) {
    throw Interrupted{};
  }
  if (attachment.check() != Errc::ok) {
    const std::string& reason = attachment.closing_reason();
    fail(reason.empty() ? "the broker went away" : "the broker closed the session: " + reason);
  }
}

shm::Attachment attach(const TripOptions& options, shm::Role role) {
  shm::AttachOptions attach_options;
  attach_options.broker = options.broker;
  attach_options.directory = options.directory;
  attach_options.role = role;
  attach_options.name = "mserve-bench";
  attach_options.credit = options.credit;
  attach_options.ring_bytes = options.ring_bytes;
  std::string reason;
  auto attachment = shm::Attachment::open(attach_options, &reason);
  if (!attachment) {
    const Errc code = attachment.error().code;
    fail_to_attach(code, "cannot attach to broker '" + options.broker + "': " + to_string(code) +
                             (reason.empty() ? "" : " (" + reason + ")") + "; " + advice(code));
  }
  const std::size_t most = shm::whole_payload_bytes_max(attachment.value().info().out_ring_bytes);
  if (options.payload_bytes > most) {
    fail("a payload of " + std::to_string(options.payload_bytes) +
         " bytes travels in fragments; this measures single frames of up to " +
         std::to_string(most) + " bytes");
  }
  return std::move(attachment).value();
}

void ClientSide::refuse(const shm::FrameView& view, shm::ReplyAux aux) const {
  std::string text = "the answer is not the expected one: ";
  if (static_cast<Errc>(aux.status) == Errc::failed && view.payload.size() > 2) {
    const auto* const begin = reinterpret_cast<const char*>(view.payload.data()) + 1;
    text += "the servant said '" + std::string(begin, view.payload.size() - 2) + "'";
  } else if (aux.status != 0) {
    text += to_string(static_cast<Errc>(aux.status));
  } else {
    text +=
        std::to_string(view.payload.size()) + " bytes instead of " + std::to_string(answer.size());
  }
  fail(text);
}

ClientSide opaque_side(const TripOptions& options) {
  ClientSide side{attach(options, shm::Role::client), {}, {}, {}};
  side.header.flags = shm::kFlagOpaque;
  if (options.want_info) {
    side.header.flags |= shm::kFlagWantInfo;
  }
  side.header.aux = kRoute;
  side.request.assign(options.payload_bytes, std::byte{'x'});
  side.answer.resize(options.payload_bytes);
  return side;
}

}  // namespace mserve::bench
