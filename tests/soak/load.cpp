// SPDX-License-Identifier: Apache-2.0
#include "soak/load.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/clock.hpp"
#include "standin/raw_client.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

using kdb::MessageKind;
using kdb::Value;

constexpr std::size_t kInFlightMax = 8;
constexpr std::uint64_t kPauseNs = 2'000'000;  // while there is no broker

std::size_t random_size(std::mt19937_64& random) {
  switch (random() % 32) {
    case 0:
      return random() % 2'000'000;
    case 1:
    case 2:
      return random() % 300'000;
    case 3:
    case 4:
    case 5:
      return random() % 20'000;
    default:
      return random() % 200;
  }
}

std::string random_text(std::mt19937_64& random) {
  const Bytes bytes = pattern(random_size(random), static_cast<std::uint32_t>(random()));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t hash_of(std::span<const std::byte> bytes) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// How a request may end here. No servant of a soak answers with an error, or with what is no kdb+
/// object: such an answer has its cause in mserve or in the soak itself.
constexpr std::array kRightfulEnds = {
    Errc::timed_out,      // its servant was stopped for long
    Errc::queue_timeout,  // so were others, for longer
    Errc::disconnected,   // the broker was killed
    Errc::shutdown,       // the broker was stopped,
    Errc::no_broker,      // and is not back yet
    Errc::servant_died,   // it, its shim or its q process was killed
    Errc::no_servant,     // and so were all others
    Errc::busy,           // they cannot keep up
    Errc::stalled,        // its servant was stopped in the middle of a large answer
    Errc::slow_reader};   // this program was not let run

/// Counts a request that ended with `why`. @param detail  for whoever looks into a wrong end.
void count_failed(Load& load, const std::string& why, const std::string& detail) {
  load.books.failed(why);
  const bool rightful = std::any_of(kRightfulEnds.begin(), kRightfulEnds.end(),
                                    [&](Errc code) { return why == to_string(code); });
  if (!rightful) {
    ADD_FAILURE() << "no fault explains the end of a request: " << why << detail;
  }
}

/// Who answered, and what.
std::string describe(const Reply& reply) {
  constexpr std::size_t kShown = 100;
  std::ostringstream out;
  out << "; servant " << reply.servant;
  if (reply.info) {
    out << " (" << std::string_view(reply.info->servant) << ')';
  }
  const auto shown = reply.payload.first(std::min(reply.payload.size(), kShown));
  out << ", " << reply.payload.size()
      << " bytes: " << std::string_view(reinterpret_cast<const char*>(shown.data()), shown.size());
  return out.str();
}

}  // namespace

void LibraryClient::take(Load& load, const Reply& reply) {
  const auto found = in_flight_.find(reply.id);
  if (found == in_flight_.end()) {
    load.books.duplicated();
    ADD_FAILURE() << "answered twice, or never asked: " << reply.id;
    return;
  }
  if (reply.status == Errc::ok) {
    load.books.answered();
    if (reply.payload.size() != found->second.bytes ||
        hash_of(reply.payload) != found->second.hash) {
      load.books.wrong();
      ADD_FAILURE() << "other bytes than were asked for: " << reply.payload.size() << ", not "
                    << found->second.bytes;
    }
  } else {
    count_failed(load, to_string(reply.status), describe(reply));
    if (reply.status == Errc::shutdown || reply.status == Errc::busy) {
      let_pass(kPauseNs);
    }
  }
  in_flight_.erase(found);
}

void LibraryClient::send_one(Load& load) {
  const std::array<Value, 1> argument = {Value::chars(random_text(random_))};
  const std::vector<std::byte> wanted = kdb::encode(argument[0]);
  SendOptions options;
  options.route = random_() % 5;
  options.repeatable = random_() % 2 == 0;
  options.want_info = random_() % 2 == 0;
  const auto id = client_.send(kdb::encode_call("echo", argument), options, watchdog());
  if (id) {
    load.books.sent();
    in_flight_.emplace(id.value(), Wanted{hash_of(wanted), wanted.size()});
  } else if (id.error().code == Errc::timed_out) {
    ADD_FAILURE() << "send() hangs: " << client_.last_failure();
  } else {
    let_pass(kPauseNs);  // nothing was sent, as the library promises
  }
}

void LibraryClient::run(Load& load) {
  const auto stopped = [&load] { return load.stop.load(std::memory_order_relaxed); };
  std::uint64_t heard_at = shm::steady_now();
  while (!::testing::Test::HasFailure() && (!stopped() || !in_flight_.empty())) {
    const std::size_t before = in_flight_.size();
    if (!stopped() && in_flight_.size() < kInFlightMax && random_() % 3 != 0) {
      send_one(load);
    } else if (!in_flight_.empty()) {
      (void)client_.wait(deadline_after(std::chrono::milliseconds(100)));
    }
    client_.poll_each([&](const Reply& reply) { take(load, reply); });
    if (in_flight_.empty() || in_flight_.size() != before) {
      heard_at = shm::steady_now();
    } else if (shm::steady_now() - heard_at > kWatchdogNs) {
      ADD_FAILURE() << in_flight_.size() << " requests get no answer; attached "
                    << client_.attached() << ", the library has in flight " << client_.in_flight();
    }
  }
}

void LibraryClient::expect_service(const std::string& endpoint) {
  const std::array<Value, 1> argument = {Value::chars("at the end")};
  const std::vector<std::byte> query = kdb::encode_call("echo", argument);
  (void)wait_until(
      [&] {
        const auto reply = client_.call(query, {.repeatable = true}, watchdog());
        return reply && reply.value()->status == Errc::ok && client_.endpoint() == endpoint;
      },
      "a client to be served again by " + endpoint);
}

namespace {

/// One TCP connection, as far as its owner has to know.
class GatewayClient {
 public:
  GatewayClient(Load& load, std::uint64_t seed) : load_(load), random_(seed) {}

  void run() {
    while (!load_.stop.load(std::memory_order_relaxed) && !::testing::Test::HasFailure()) {
      RawClient client = RawClient::tcp(load_.port);
      if (!client.connected() || !client.handshake("bob:pw", 3)) {
        let_pass(kPauseNs);
        continue;
      }
      for (std::uint64_t batches = 1 + random_() % 30; batches > 0; --batches) {
        if (load_.stop.load(std::memory_order_relaxed) ||
            !(random_() % 2 == 0 ? ask_sync(client) : ask_lbt(client))) {
          break;
        }
      }
    }
  }

 private:
  /// @return false when it is to hang up: in the middle of things, with requests under way.
  bool hang_up(RawClient& client, std::uint64_t pending) {
    if (random_() % 100 != 0) {
      return false;
    }
    load_.books.injected(Fault::hang_up);
    load_.books.abandoned(pending);
    random_() % 2 == 0 ? client.reset() : client.close();
    return true;
  }

  void judge(const Value& result, const std::string& wanted) {
    if (result.is_error()) {
      count_failed(load_, std::string(*result.text_view()), ", through the gateway");
    } else if (result == Value::chars(wanted)) {
      load_.books.answered();
    } else if (const auto text = result.text_view(); text && text->starts_with("Error: ")) {
      count_failed(load_, std::string(text->substr(7)), ", through the gateway");
    } else {
      load_.books.answered();
      load_.books.wrong();
      ADD_FAILURE() << "other bytes than were asked for, through the gateway";
    }
  }

  /// Whatever comes before the answer of a flush came unasked.
  bool flush(RawClient& client) {
    const auto answer = client.query("");
    if (answer && *answer != Value::null()) {
      load_.books.duplicated();
      ADD_FAILURE() << "an answer that nobody waits for";
    }
    return answer.has_value();
  }

  bool ask_sync(RawClient& client) {
    const std::string text = random_text(random_);
    const Value query = Value::list({Value::symbol("echo"), Value::chars(text)});
    load_.books.sent();
    if (!client.send(query, MessageKind::sync)) {
      load_.books.failed("connection closed");
      return false;
    }
    if (hang_up(client, 1)) {
      return false;
    }
    const auto answer = client.receive();
    if (!answer) {
      load_.books.failed("connection closed");
      return false;
    }
    judge(answer->value, text);
    return flush(client);
  }

  bool ask_lbt(RawClient& client) {
    std::map<std::int64_t, std::string> pending;
    const std::int64_t count = static_cast<std::int64_t>(1 + random_() % 6);
    for (std::int64_t id = 1; id <= count; ++id) {
      pending[id] = random_text(random_);
      const Value query = Value::list({Value::symbol("echo"), Value::chars(pending[id])});
      load_.books.sent();
      if (!client.send(Value::list({Value::long_atom(id), query}), MessageKind::async)) {
        load_.books.failed("connection closed", pending.size());
        return false;
      }
    }
    while (!pending.empty()) {
      if (hang_up(client, pending.size())) {
        return false;
      }
      const auto answer = client.receive();
      if (!answer) {
        load_.books.failed("connection closed", pending.size());
        return false;
      }
      const auto id = answer->value.is_list() ? answer->value.at(0).integer() : std::nullopt;
      const auto found = pending.find(id.value_or(0));
      if (found == pending.end()) {
        load_.books.duplicated();
        ADD_FAILURE() << "answered twice, or never asked";
        continue;
      }
      judge(answer->value.at(1), found->second);
      pending.erase(found);
    }
    return flush(client);
  }

  Load& load_;
  std::mt19937_64 random_;
};

}  // namespace

void run_gateway_client(Load& load, std::uint64_t seed) {
  GatewayClient(load, seed).run();
}

}  // namespace mserve::test
