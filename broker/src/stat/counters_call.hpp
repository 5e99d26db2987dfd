// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/counters.hpp"
#include "mserve/shm/errc.hpp"
#include "stat/control_call.hpp"

namespace mserve::stat {

/// Where a broker's counters are.
struct CountersPlace {
  std::string name;  ///< For CountersReader::open() and MonitorReader::open(),
  uid_t owner = 0;   ///< and the broker's user.
};
/// Asks a broker. @param reason  one sentence when it fails and there is one.
[[nodiscard]] Result<CountersPlace> find_counters(const BrokerName& broker,
                                                  std::uint64_t timeout_ns, std::string& reason);

using Counters = std::vector<shm::CountersReader::Value>;

/// Asks a broker where its counters are, and reads all of them. Waits kPatienceNs at most.
/// @param reason  one sentence when it fails and there is one.
/// @return as Attachment::open() and CountersReader::open(); `access`: the broker does not take
/// this
///         user; `no_broker`: none is there, or it shows no counters.
[[nodiscard]] Result<Counters> read_counters(const BrokerName& broker, std::string& reason);

/// The value of one; 0 when there is none of that name.
[[nodiscard]] unsigned long long value_of(const Counters& counters, std::string_view name) noexcept;

/// One row for each: counter value.
[[nodiscard]] kdb::Value counters_table(const Counters& counters);

}  // namespace mserve::stat
