// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cluster/etcd_messages.hpp"

namespace mserve::cluster {

/// Who has the key of this broker, by what etcd tells last: nobody, this one, or another broker of
/// the same id. What stands there before this one has written may be left from a former life. No
/// I/O. Threads: one.
class KeyHolder {
 public:
  /// @param id  of this broker.
  explicit KeyHolder(std::string id) : id_(std::move(id)) {}

  /// @param kv  the key as it is now; null: there is none. @param lease  ours; 0: none.
  void seen(const KeyValue* kv, std::int64_t lease);
  /// This lease was ours; what is still told of it is, too.
  void lost(std::int64_t lease) noexcept;
  void wrote() noexcept { wrote_ = true; }

  /// The key, if it is another broker's. @param value  what this one would write.
  [[nodiscard]] const KeyValue* other(const std::string& value) const;
  /// Where the broker is that wrote it, or by which lease.
  [[nodiscard]] std::string whose(const KeyValue& kv) const;

 private:
  const std::string id_;
  bool wrote_ = false;
  std::int64_t former_lease_ = 0;
  std::optional<KeyValue> held_;  // by a lease that is not ours
};

}  // namespace mserve::cluster
