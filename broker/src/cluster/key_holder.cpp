// SPDX-License-Identifier: Apache-2.0
#include "cluster/key_holder.hpp"

#include "cluster/broker_record.hpp"

namespace mserve::cluster {

void KeyHolder::seen(const KeyValue* kv, std::int64_t lease) {
  // Without a lease it is nobody's: no broker keeps it alive.
  if (kv == nullptr || kv->lease == 0 || kv->lease == lease || kv->lease == former_lease_) {
    held_.reset();
  } else {
    held_ = *kv;
  }
}

void KeyHolder::lost(std::int64_t lease) noexcept {
  former_lease_ = lease != 0 ? lease : former_lease_;
}

const KeyValue* KeyHolder::other(const std::string& value) const {
  return held_ && (wrote_ || !same_broker(value, held_->value, id_)) ? &*held_ : nullptr;
}

std::string KeyHolder::whose(const KeyValue& kv) const {
  std::string fault;
  const auto record = read_record(kv.value, id_, fault);
  return record ? record->address : "lease " + std::to_string(kv.lease);
}

}  // namespace mserve::cluster
