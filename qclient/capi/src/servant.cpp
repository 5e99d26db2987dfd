// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/servant.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "status.hpp"
#include "structs.hpp"

/// The handle. `event` is what the servant said last about its session.
struct mserve_servant {
  explicit mserve_servant(mserve::servant::Options options) : servant(std::move(options)) {
    servant.set_events([this](mserve::servant::Event, std::string_view text) { event = text; });
  }

  mserve::Servant servant;
  std::string event;
};

namespace mserve::capi {
namespace {

// Sizes of the first release.
constexpr std::size_t kServantOptionsBytes = 88;
constexpr std::size_t kRequestBytes = 48;
static_assert(sizeof(mserve_servant_options) >= kServantOptionsBytes &&
              sizeof(mserve_request) >= kRequestBytes);

/// @return false when a member is out of the range that only this side knows.
bool translate(const mserve_servant_options& from, servant::Options& to) {
  if (!translate_common(from, to)) {
    return false;
  }
  const std::string_view group = view(from.group);
  if (group.find_first_of(" \t\n") != std::string_view::npos) {
    return false;  // it would say other tags
  }
  to.tags = view(from.tags);
  if (!group.empty()) {
    to.tags.insert(0, "group=" + std::string(group) + (to.tags.empty() ? "" : " "));
  }
  to.credit = from.credit;
  set_if(to.stop_ns_max, from.stop_ns_max);
  return true;
}

void fill(mserve_request* out, const servant::Request& from) noexcept {
  mserve_request to = MSERVE_REQUEST_INIT;
  to.format = from.opaque ? MSERVE_OPAQUE : MSERVE_KDB;
  to.id = from.id;
  to.payload = from.payload.empty() ? nullptr : from.payload.data();
  to.payload_bytes = from.payload.size();
  to.options = from.options.empty() ? nullptr : from.options.data();
  to.options_bytes = from.options.size();
  write_struct(out, to);
}

/// A code with what the servant said about it, if it is about the session.
mserve_status ended(const mserve_servant& handle, Errc code) noexcept {
  std::string_view text = handle.event;
  const std::string_view name = to_string(code);
  if (text.starts_with(name)) {  // report() says it
    text.remove_prefix(std::min(text.size(), name.size() + 2));
  }
  return report(code, text);
}

mserve_status answered(Errc code) noexcept {
  switch (code) {
    case Errc::invalid:
      return report(code, "no such request, or the payload is no kdb+ object");
    case Errc::disconnected:
      return report(code, "the request's session is over");
    default:
      return report(code);
  }
}

}  // namespace
}  // namespace mserve::capi

using namespace mserve;
using namespace mserve::capi;

mserve_status mserve_servant_attach(const mserve_servant_options* options,
                                    mserve_servant** servant) noexcept {
  return guarded([&] {
    if (servant == nullptr) {
      return report(Errc::invalid, "servant is null");
    }
    *servant = nullptr;
    mserve_servant_options known = MSERVE_SERVANT_OPTIONS_INIT;
    servant::Options wanted;
    if (!read_struct(options, known, kServantOptionsBytes)) {
      return report(
          Errc::invalid,
          "mserve_servant_options: start from its _INIT; or it asks for what this release lacks");
    }
    if (!translate(known, wanted)) {
      return report(Errc::invalid,
                    "mserve_servant_options: flags, idle, reserved or group is out of range");
    }
    auto made = std::make_unique<mserve_servant>(std::move(wanted));
    const Errc code = made->servant.poll_once();
    if (code != Errc::ok && code != Errc::not_attached) {
      return ended(*made, code);
    }
    *servant = made.release();
    return mserve_status{MSERVE_OK};
  });
}

void mserve_servant_detach(mserve_servant** servant) noexcept {
  if (servant == nullptr || *servant == nullptr) {
    return;
  }
  mserve_servant* const ending = std::exchange(*servant, nullptr);
  (void)guarded([&] {
    ending->servant.detach();
    return mserve_status{MSERVE_OK};
  });
  delete ending;
}

mserve_status mserve_servant_receive(mserve_servant* servant, uint64_t timeout_ns,
                                     mserve_request* request) noexcept {
  return guarded([&] {
    if (servant == nullptr || !writable(request, kRequestBytes)) {
      return null_argument();
    }
    servant::Request got;
    const Errc code = servant->servant.receive(got, deadline_of(timeout_ns));
    if (code != Errc::ok) {
      return code == Errc::cancelled ? report(code, "stopped") : ended(*servant, code);
    }
    fill(request, got);
    return mserve_status{MSERVE_OK};
  });
}

mserve_status mserve_servant_reply(mserve_servant* servant, uint64_t id, const void* payload,
                                   size_t payload_bytes, uint32_t format) noexcept {
  return guarded([&] {
    if (servant == nullptr || (payload == nullptr && payload_bytes != 0)) {
      return report(Errc::invalid, "an argument is null");
    }
    if (format != MSERVE_KDB && format != MSERVE_OPAQUE) {
      return report(Errc::invalid, "format is out of range");
    }
    return answered(servant->servant.reply(
        id, {static_cast<const std::byte*>(payload), payload_bytes}, format == MSERVE_OPAQUE));
  });
}

mserve_status mserve_servant_reply_error(mserve_servant* servant, uint64_t id,
                                         const char* text) noexcept {
  return guarded([&] {
    if (servant == nullptr) {
      return report(Errc::invalid, "servant is null");
    }
    const std::string_view words = view(text);
    return answered(servant->servant.reply_error(id, words.empty() ? "error" : words));
  });
}

void mserve_servant_stop(mserve_servant* servant) noexcept {
  if (servant != nullptr) {
    servant->servant.stop();
  }
}

int32_t mserve_servant_attached(const mserve_servant* servant) noexcept {
  return servant != nullptr && servant->servant.attached() ? 1 : 0;
}
