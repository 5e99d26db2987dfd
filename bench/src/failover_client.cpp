// SPDX-License-Identifier: Apache-2.0
#include "failover_client.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::bench {
namespace {

/// Longest sleep between two looks at everything, and the most that is caught up with.
constexpr std::uint64_t kNapNsMax = 10'000'000;
/// Enough that each of two hosts is at home to some.
constexpr std::uint32_t kRoutes = 64;

kdb::Value argument_of(std::uint64_t id) {
  return kdb::Value::long_atom(static_cast<std::int64_t>(id));
}

}  // namespace

SteadyClient::SteadyClient(const TripOptions& options, double per_second, std::uint32_t window)
    : client_(attach(options, shm::Role::client)),
      period_ns_(static_cast<std::uint64_t>(1e9 / per_second)),
      window_(window) {
  for (std::uint32_t route = 0; route < kRoutes; ++route) {
    routes_.push_back(kdb::route_of_text("ROUTE" + std::to_string(route)).hash);
  }
}

bool SteadyClient::send_one() {
  const std::array<kdb::Value, 1> arguments = {argument_of(next_id_)};
  shm::FrameHeader header;
  header.flags = shm::kFlagWantInfo | shm::kFlagRepeatable;
  header.id = next_id_;
  header.aux = routes_[next_id_ % routes_.size()];
  const std::uint64_t now = shm::steady_now();
  if (!try_send(client_, header, kdb::encode_call("echo", arguments))) {
    return false;
  }
  next_id_ = book_.send(now) + 1;
  return true;
}

void SteadyClient::send_now(std::uint32_t requests) {
  for (std::uint32_t i = 0; i < requests && book_.under_way() < window_ && send_one(); ++i) {
  }
}

void SteadyClient::run_for(std::uint64_t ns) {
  std::uint64_t due = shm::steady_now();
  const std::uint64_t until = due + ns;
  for (std::uint64_t now = due; now < until && !interrupted(); now = shm::steady_now()) {
    const bool worked = take();
    while (due <= now && book_.under_way() < window_ && send_one()) {
      due += period_ns_;
    }
    // What could not be sent in time is left out: all of it at once would be another load.
    due = std::max(due, now - kNapNsMax);
    book_.hear_nothing(shm::steady_now());
    if (!worked) {
      sleep_until(std::min(due > now ? due : now + kNapNsMax, std::min(now + kNapNsMax, until)));
    }
  }
}

void SteadyClient::settle(std::uint64_t ns) {
  book_.end_of_silence();
  const std::uint64_t until = shm::steady_now() + ns;
  while ((take() || book_.under_way() > 0) && shm::steady_now() < until && !interrupted()) {
    sleep_until(shm::steady_now() + kNapNsMax);
  }
}

void SteadyClient::sleep_until(std::uint64_t deadline_ns) {
  // Whatever it returns, the ring tells the rest.
  (void)client_.wait(deadline_ns, shm::SleepOn::futex);
  if (client_.check() != Errc::ok) {
    fail("the broker that is asked went away: " + client_.closing_reason());
  }
}

bool SteadyClient::take() {
  shm::FrameView view;
  Errc code = Errc::empty;
  bool any = false;
  while ((code = client_.incoming().front(view)) == Errc::ok) {
    on_answer(view);
    client_.incoming().release();
    any = true;
  }
  if (code != Errc::empty) {
    fail("the broker sent a frame that is none");
  }
  return any;
}

void SteadyClient::on_answer(const shm::FrameView& view) {
  const std::uint64_t id = view.header.id;
  if (view.header.kind != shm::Kind::reply || !book_.knows(id)) {
    fail("the broker sent an answer to nothing");
  }
  const shm::ReplyAux aux = shm::unpack_reply(view.header.aux);
  if (aux.status != 0) {
    book_.fail(id, to_string(static_cast<Errc>(aux.status)));
  } else {
    on_result(view);
  }
}

void SteadyClient::on_result(const shm::FrameView& view) {
  const std::uint64_t id = view.header.id;
  // What the peer knows of it comes behind the result.
  const std::vector<std::byte> expected = kdb::encode(argument_of(id));
  if (view.payload.size() < expected.size() ||
      !std::equal(expected.begin(), expected.end(), view.payload.begin())) {
    fail("request " + std::to_string(id) + " got the answer of another one");
  }
  shm::Extensions extensions;
  if (!shm::parse_extensions(view.extensions, extensions) || !extensions.has_info) {
    fail("an answer came without the info that was asked for");
  }
  const shm::InfoExt& info = extensions.info;
  book_.answer(id, shm::steady_now(), info.servant,
               info.elapsed_ns - std::min(info.elapsed_ns, info.execution_ns));
}

}  // namespace mserve::bench
