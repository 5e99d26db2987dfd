// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/client.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mserve/client/query.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "status.hpp"
#include "structs.hpp"

/// The handle. `called` owns what mserve_client_call() lent.
struct mserve_client {
  explicit mserve_client(mserve::Client connected) : client(std::move(connected)) {}

  mserve::Client client;
  mserve::OwnedReply called;
};

namespace mserve::capi {
namespace {

// Sizes of the first release.
constexpr std::size_t kClientOptionsBytes = 104;
constexpr std::size_t kSendOptionsBytes = 40;
constexpr std::size_t kReplyBytes = 120;
static_assert(sizeof(mserve_client_options) >= kClientOptionsBytes &&
              sizeof(mserve_send_options) >= kSendOptionsBytes &&
              sizeof(mserve_reply) >= kReplyBytes);
static_assert(sizeof(mserve_reply::servant_name) == sizeof(shm::InfoExt::servant));

/// What one request comes to: its bytes and how they are sent.
struct Outgoing {
  std::span<const std::byte> payload;
  SendOptions options;
  std::vector<std::byte> text;  ///< Owns the payload of a q text.
};

/// @return false when a member is out of the range that only this side knows.
bool translate(const mserve_client_options& from, ClientOptions& to) {
  if (!translate_common(from, to)) {
    return false;
  }
  to.user = view(from.user);
  to.password = view(from.password);
  set_if(to.in_flight_max, from.in_flight_max);
  set_if(to.unread_bytes_max, from.unread_bytes_max);
  set_if(to.connect_ns_max, from.connect_ns_max);
  set_if(to.resend_ns_max, from.resend_ns_max);
  return true;
}

mserve_status prepare(const Client& client, const void* payload, std::size_t payload_bytes,
                      const mserve_send_options* given, Outgoing& out) {
  mserve_send_options from = MSERVE_SEND_OPTIONS_INIT;
  if (!read_struct(given, from, kSendOptionsBytes)) {
    return report(
        Errc::invalid,
        "mserve_send_options: start from its _INIT; or it asks for what this release lacks");
  }
  if (payload == nullptr && payload_bytes != 0) {
    return report(Errc::invalid, "payload is null");
  }
  if (from.format > MSERVE_Q_TEXT || from.priority > 3 ||
      (from.flags & ~std::uint32_t{MSERVE_REPEATABLE | MSERVE_WANT_INFO}) != 0) {
    return report(Errc::invalid, "mserve_send_options: format, flags or priority is out of range");
  }
  SendOptions& to = out.options;
  to.want_info = (from.flags & MSERVE_WANT_INFO) != 0;
  to.repeatable = (from.flags & MSERVE_REPEATABLE) != 0;
  to.opaque = from.format == MSERVE_OPAQUE;
  to.pair = from.format == MSERVE_KDB_PAIR;
  to.priority = static_cast<std::uint8_t>(from.priority);
  to.queue_ns_max = from.queue_ns_max;
  to.run_ns_max = from.run_ns_max;
  to.route = kdb::route_of_text(view(from.route)).hash;
  out.payload = {static_cast<const std::byte*>(payload), payload_bytes};
  if (from.format == MSERVE_Q_TEXT) {
    out.text = kdb::encode(
        kdb::Value::chars(std::string(static_cast<const char*>(payload), payload_bytes)));
    out.payload = out.text;
  }
  if (!to.opaque) {
    to = placed(out.payload, client, to);
  }
  return MSERVE_OK;
}

void fill(mserve_reply* out, const Reply& from) noexcept {
  mserve_reply to = MSERVE_REPLY_INIT;
  to.status = static_cast<mserve_status>(from.status);
  to.id = from.id;
  to.payload = from.payload.empty() ? nullptr : from.payload.data();
  to.payload_bytes = from.payload.size();
  to.format = from.opaque ? MSERVE_OPAQUE : MSERVE_KDB;
  to.servant = from.servant;
  if (from.info) {
    to.has_info = 1;
    to.backlog = from.info->backlog;
    to.remaining = from.info->remaining;
    to.elapsed_ns = from.info->elapsed_ns;
    to.execution_ns = from.info->execution_ns;
    std::memcpy(to.servant_name, from.info->servant, sizeof to.servant_name);
    to.servant_name[sizeof to.servant_name - 1] = '\0';
  }
  to.info_object = from.info_object.empty() ? nullptr : from.info_object.data();
  to.info_object_bytes = from.info_object.size();
  write_struct(out, to);
}

/// A code that poll(), wait() and the like gave, with what the client knows about it.
mserve_status ended(const Client& client, Errc code) noexcept {
  return code == Errc::not_attached ? report(code, client.last_failure()) : report(code);
}

mserve_status ended(const Client& client, const Error& error) noexcept {
  return error.code == Errc::not_attached ? report(error.code, client.last_failure())
                                          : report(error);
}

/// @param send  sends what is ready: Result<std::uint64_t>(const Outgoing&).
template <class Send>
mserve_status send_by(mserve_client* client, const void* payload, std::size_t payload_bytes,
                      const mserve_send_options* options, std::uint64_t* id, Send send) {
  if (client == nullptr || id == nullptr) {
    return null_argument();
  }
  Outgoing out;
  if (const mserve_status ready = prepare(client->client, payload, payload_bytes, options, out);
      ready != MSERVE_OK) {
    return ready;
  }
  const Result<std::uint64_t> sent = send(out);
  if (!sent) {
    return ended(client->client, sent.error());
  }
  *id = sent.value();
  return MSERVE_OK;
}

}  // namespace
}  // namespace mserve::capi

using namespace mserve;
using namespace mserve::capi;

mserve_status mserve_client_connect(const mserve_client_options* options,
                                    mserve_client** client) noexcept {
  return guarded([&] {
    if (client == nullptr) {
      return null_argument();
    }
    *client = nullptr;
    mserve_client_options known = MSERVE_CLIENT_OPTIONS_INIT;
    ClientOptions wanted;
    if (!read_struct(options, known, kClientOptionsBytes)) {
      return report(
          Errc::invalid,
          "mserve_client_options: start from its _INIT; or it asks for what this release lacks");
    }
    if (!translate(known, wanted)) {
      return report(Errc::invalid,
                    "mserve_client_options: flags, idle or reserved is out of range");
    }
    std::string reason;
    auto connected = Client::connect(wanted, &reason);
    if (!connected) {
      return report(connected.error(), reason);
    }
    *client = std::make_unique<mserve_client>(std::move(connected).value()).release();
    return mserve_status{MSERVE_OK};
  });
}

void mserve_client_disconnect(mserve_client** client) noexcept {
  if (client != nullptr) {
    delete std::exchange(*client, nullptr);
  }
}

mserve_status mserve_client_try_send(mserve_client* client, const void* payload,
                                     size_t payload_bytes, const mserve_send_options* options,
                                     uint64_t* id) noexcept {
  return guarded([&] {
    return send_by(client, payload, payload_bytes, options, id, [&](const Outgoing& out) {
      return client->client.try_send(out.payload, out.options);
    });
  });
}

mserve_status mserve_client_send(mserve_client* client, const void* payload, size_t payload_bytes,
                                 const mserve_send_options* options, uint64_t timeout_ns,
                                 uint64_t* id) noexcept {
  return guarded([&] {
    return send_by(client, payload, payload_bytes, options, id, [&](const Outgoing& out) {
      return client->client.send(out.payload, out.options, deadline_of(timeout_ns));
    });
  });
}

mserve_status mserve_client_poll(mserve_client* client, mserve_reply* reply) noexcept {
  return guarded([&] {
    if (client == nullptr || !writable(reply, kReplyBytes)) {
      return null_argument();
    }
    Reply got;
    const Errc code = client->client.poll(got);
    if (code != Errc::ok) {
      return ended(client->client, code);
    }
    fill(reply, got);
    return mserve_status{MSERVE_OK};
  });
}

mserve_status mserve_client_wait(mserve_client* client, uint64_t timeout_ns) noexcept {
  return guarded([&] {
    return client == nullptr ? null_argument()
                             : ended(client->client, client->client.wait(deadline_of(timeout_ns)));
  });
}

mserve_status mserve_client_await(mserve_client* client, uint64_t id, uint64_t timeout_ns,
                                  mserve_reply* reply) noexcept {
  return guarded([&] {
    if (client == nullptr || !writable(reply, kReplyBytes)) {
      return null_argument();
    }
    Reply got;
    const Errc code = client->client.await(id, got, deadline_of(timeout_ns));
    if (code != Errc::ok) {
      return code == Errc::invalid ? report(code, "that id is not in flight")
                                   : ended(client->client, code);
    }
    fill(reply, got);
    return mserve_status{MSERVE_OK};
  });
}

mserve_status mserve_client_call(mserve_client* client, const void* payload, size_t payload_bytes,
                                 const mserve_send_options* options, uint64_t timeout_ns,
                                 mserve_reply* reply) noexcept {
  return guarded([&] {
    if (client == nullptr || !writable(reply, kReplyBytes)) {
      return null_argument();
    }
    Outgoing out;
    const mserve_status ready = prepare(client->client, payload, payload_bytes, options, out);
    if (ready != MSERVE_OK) {
      return ready;
    }
    auto called = client->client.call(out.payload, out.options, deadline_of(timeout_ns));
    if (!called) {
      return ended(client->client, called.error());
    }
    client->called = std::move(called).value();
    fill(reply, *client->called);
    return mserve_status{MSERVE_OK};
  });
}

mserve_status mserve_client_cancel(mserve_client* client, uint64_t id) noexcept {
  return guarded([&] {
    if (client == nullptr) {
      return null_argument();
    }
    return client->client.cancel(id) ? mserve_status{MSERVE_OK}
                                     : report(Errc::invalid, "that id is not in flight");
  });
}

size_t mserve_reply_error(const mserve_reply* reply, char* text, size_t text_bytes) noexcept {
  std::string_view error;
  if (reply != nullptr && reply->status == MSERVE_FAILED && reply->payload_bytes > 1) {
    // An error object: its type, the text, an end mark. Perhaps in memory that can change.
    error = {static_cast<const char*>(reply->payload) + 1, reply->payload_bytes - 1};
    error = error.substr(0, strnlen(error.data(), error.size()));
  } else if (reply != nullptr && reply->status != MSERVE_OK) {
    error = mserve_status_name(reply->status);
  }
  if (text != nullptr && text_bytes > 0) {
    const std::size_t bytes = std::min(error.size(), text_bytes - 1);
    std::memcpy(text, error.data(), bytes);
    text[bytes] = '\0';
  }
  return error.size();
}

mserve_status mserve_client_reconnect(mserve_client* client, uint64_t timeout_ns) noexcept {
  return guarded([&] {
    if (client == nullptr) {
      return null_argument();
    }
    std::string reason;
    return report(client->client.reconnect(deadline_of(timeout_ns), &reason), reason);
  });
}

int32_t mserve_client_attached(const mserve_client* client) noexcept {
  return client != nullptr && client->client.attached() ? 1 : 0;
}

size_t mserve_client_in_flight(const mserve_client* client) noexcept {
  return client != nullptr ? client->client.in_flight() : 0;
}

uint64_t mserve_client_payload_bytes_max(const mserve_client* client) noexcept {
  return client != nullptr ? client->client.max_payload_bytes() : 0;
}

uint64_t mserve_client_try_payload_bytes_max(const mserve_client* client) noexcept {
  return client != nullptr ? client->client.try_payload_bytes_max() : 0;
}

int32_t mserve_client_fd(const mserve_client* client) noexcept {
  return client != nullptr ? client->client.fd() : -1;
}

int32_t mserve_client_prepare_sleep(mserve_client* client) noexcept {
  int32_t may_sleep = 0;
  (void)guarded([&] {
    may_sleep = client != nullptr && client->client.prepare_sleep() ? 1 : 0;
    return mserve_status{MSERVE_OK};
  });
  return may_sleep;
}

void mserve_client_finish_sleep(mserve_client* client) noexcept {
  (void)guarded([&] {
    if (client != nullptr) {
      client->client.finish_sleep();
    }
    return mserve_status{MSERVE_OK};
  });
}
