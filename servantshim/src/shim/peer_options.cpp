// SPDX-License-Identifier: Apache-2.0
#include "shim/peer_options.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::shim {

namespace {

constexpr std::array<std::string_view, 7> kOurs = {
    "hop", "user", "role", "timeout", "queue_timeout", "priority", "repeatable"};

/// A dictionary in the making.
struct Entries {
  std::vector<std::string> keys;
  std::vector<kdb::Value> values;

  void add(std::string_view key, kdb::Value value) {
    keys.emplace_back(key);
    values.push_back(std::move(value));
  }
};

void add_of_client(Entries& entries, const kdb::Value& options) {
  const kdb::Value& values = options.values();
  if (!values.is_vector() && !values.is_list()) {
    return;  // taking a row of a table for each key could take any amount of memory
  }
  const std::span<const std::string> keys = options.keys().items<std::string>();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (std::find(kOurs.begin(), kOurs.end(), keys[i]) == kOurs.end()) {
      entries.add(keys[i], values.at(i));
    }
  }
}

void add_caller(Entries& entries, const kdb::Value& options) {
  for (const std::string_view key : {"user", "role"}) {
    if (auto name = options.find(key);
        name && name->type() == kdb::Type::symbol && name->is_atom()) {
      entries.add(key, *std::move(name));
    }
  }
}

void add_terms(Entries& entries, const PeerTerms& terms) {
  static constexpr std::uint64_t kNone = INT64_MAX;
  const auto limit = [](std::uint64_t ns) { return ns == 0 ? kNone : std::min(ns, kNone); };
  const std::uint64_t run_ns = limit(terms.deadline.run_ns);
  // Nobody waits any more once we have given it up, so it need not wait there for longer.
  const std::uint64_t queue_ns = std::min(limit(terms.deadline.queue_ns), run_ns);
  if (run_ns != kNone) {
    entries.add("timeout", kdb::Value::timespan(static_cast<std::int64_t>(run_ns)));
  }
  if (queue_ns != kNone) {
    entries.add("queue_timeout", kdb::Value::timespan(static_cast<std::int64_t>(queue_ns)));
  }
  if (terms.priority != shm::kPriorityDefault) {
    entries.add("priority", kdb::Value::long_atom(terms.priority));
  }
}

}  // namespace

const char* spend(shm::DeadlineExt& deadline, std::uint64_t waited_ns) noexcept {
  const auto is_over = [waited_ns](std::uint64_t ns) { return ns != 0 && ns <= waited_ns; };
  if (is_over(deadline.run_ns)) {
    return to_string(Errc::timed_out);
  }
  if (is_over(deadline.queue_ns)) {
    return to_string(Errc::queue_timeout);
  }
  for (std::uint64_t* const left : {&deadline.queue_ns, &deadline.run_ns}) {
    *left -= *left != 0 ? waited_ns : 0;
  }
  return nullptr;
}

std::optional<std::vector<std::byte>> peer_options(std::span<const std::byte> options,
                                                   const PeerTerms& terms, bool repeatable) {
  Entries entries;
  if (options.size() > kPeerOptionsBytesMax) {
    return std::nullopt;
  }
  if (!options.empty()) {
    const kdb::Result<kdb::Value> given = kdb::decode(options);
    if (!given || !given->is_dict()) {
      return std::nullopt;
    }
    add_of_client(entries, *given);
    if (terms.vouched) {
      add_caller(entries, *given);
    }
  }
  entries.add("hop", kdb::Value::long_atom(1));
  add_terms(entries, terms);
  if (!repeatable) {
    entries.add("repeatable", kdb::Value::boolean(false));
  }
  const kdb::Value made = kdb::Value::dict(kdb::Value::symbols(std::move(entries.keys)),
                                           kdb::Value::list(std::move(entries.values)));
  if (made.is_error() || kdb::encoded_size(made) > kPeerOptionsBytesMax) {
    return std::nullopt;
  }
  return kdb::encode(made);
}

}  // namespace mserve::shim
