// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::stat {

/// The longest to wait for a broker's word. It says it within microseconds, if it runs.
inline constexpr std::uint64_t kPatienceNs = 3'000'000'000;
/// The same while it reads its configuration and all files that this names.
inline constexpr std::uint64_t kReloadPatienceNs = 10'000'000'000;

/// Which broker.
struct BrokerName {
  std::string name = "default";
  std::string directory;  ///< Empty: the rule of shm/directory.hpp.
};

/// What a broker answered.
struct ControlAnswer {
  Errc status = Errc::ok;
  std::uint64_t count = 0;  ///< Servants that it was done to, or rows.
  std::string text;         ///< One sentence.
  std::optional<kdb::Value> table;
};

/// Sends one request and waits for its answer. For those that take their time there is
/// call_drain().
/// @param reason  one sentence when there is no answer.
/// @return the answer, whatever its status; `no_broker`, `access`, `unsafe_directory`,
///         `disconnected`, `timed_out`, `version_mismatch` (the broker knows no control requests),
///         `protocol`, `invalid` (name), `os`.
[[nodiscard]] Result<ControlAnswer> call_control(const BrokerName& broker,
                                                 const shm::Control& request, std::string& reason,
                                                 std::uint64_t patience_ns = kPatienceNs);

/// The same in two steps, for whoever has something else to do meanwhile: sends one request.
/// @return the socket, readable once the answer is there; or an error as above.
[[nodiscard]] Result<shm::UniqueFd> send_control(const BrokerName& broker,
                                                 const shm::Control& request, std::string& reason,
                                                 std::uint64_t deadline_ns);
/// The answer to it.
[[nodiscard]] Result<ControlAnswer> receive_control(int fd, std::string& reason,
                                                    std::uint64_t deadline_ns);

/// A row of the answer to Verb::reload, see there; printable ASCII.
struct ReloadRow {
  std::string key;
  std::string value;
  std::string fault;
};

/// Those of an answer; none where it has no table, or another one.
[[nodiscard]] std::vector<ReloadRow> reload_rows(const ControlAnswer& answer);

/// What a broker found wrong with what Verb::reload had it read, one line each, printable ASCII,
/// none of them empty; empty: it holds now.
[[nodiscard]] std::vector<std::string> reload_faults(const ControlAnswer& answer);

}  // namespace mserve::stat
