// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/shm/errc.hpp"
#include "stat/control_call.hpp"

namespace mserve::stat {

/// What an operator wants of the document of a cluster.
struct DocumentOrder {
  std::string verb{};  ///< apply, rollback, show or history.
  std::string text{};  ///< Of apply.
  std::string note{};  ///< Of apply and rollback.
  /// Of apply: the version that must be the current one. Of rollback and show: which.
  std::optional<std::int64_t> version{};
  std::uint64_t wait_ns = 0;  ///< Of apply and rollback: for all brokers to have it.
};

/// A version without its text.
struct DocumentHead {
  std::int64_t version = 0;
  std::int64_t at = 0;  ///< ns since 1970.
  std::string by{};
  std::string note{};
  std::int64_t bytes = 0;  ///< Of history.
};

/// How a broker stands to what was written.
struct DocumentBroker {
  std::string id{};
  std::string state{};  ///< applied, refused, waiting, draining, unable, gone
  std::string fault{};
};

/// What mserve-cluster answered; all but `document_text` and `json` is printable.
struct DocumentAnswer {
  std::string status{};  ///< ok, refused, conflict, no_etcd, timed_out, invalid, access
  std::string text{};    ///< One sentence; may be empty where the status is ok.
  DocumentHead document{};
  std::string document_text{};  ///< Of show.
  std::vector<DocumentHead> history{};
  std::vector<DocumentBroker> brokers{};
  std::vector<std::string> faults{};  ///< Of the text, `line N: what`.
  std::string json{};                 ///< All of it, one line.
};

/// Asks the mserve-cluster of a broker and waits for its answer.
/// @param reason  one sentence when there is none.
/// @return the answer, whatever its status; `no_broker` (nobody listens there), `access`,
///         `unsafe_directory`, `timed_out`, `protocol`, `invalid` (name), `os`.
[[nodiscard]] Result<DocumentAnswer> call_cluster(const BrokerName& broker,
                                                  const DocumentOrder& order, std::string& reason);

/// The line that is sent, and one that came back; nothing: it is no answer.
[[nodiscard]] std::string order_line(const DocumentOrder& order);
[[nodiscard]] std::optional<DocumentAnswer> read_document_answer(std::string_view line);

/// The text of FILE, of standard input for `-`; at most 256 KiB.
/// @param fault  why there is none.
[[nodiscard]] std::optional<std::string> read_document_file(const std::string& path,
                                                            std::string& fault);

}  // namespace mserve::stat
