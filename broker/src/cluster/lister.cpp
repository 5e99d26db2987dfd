// SPDX-License-Identifier: Apache-2.0
#include "cluster/lister.hpp"

#include <algorithm>
#include <utility>

#include "cluster/broker_record.hpp"

namespace mserve::cluster {

Lister::Lister(const std::string& cluster, std::size_t page_keys)
    : before_{.from = watched_keys(cluster).from, .end = document_key(cluster)},
      range_(only_key(document_key(cluster))),
      page_keys_(page_keys),
      limit_(page_keys) {}

std::size_t Lister::limit() const noexcept {
  return document_ || !values_ ? 1 : std::min(limit_, kKeysMax - taken_);
}

std::string Lister::request() const {
  return page_request(range_, limit(), values_, all_.revision);
}

Lister::Step Lister::make_smaller(std::string& fault) {
  if (!values_) {
    fault = "a key is longer than 8 MiB";
    return Step::failed;
  }
  if (limit() == 1) {
    values_ = false;
  } else {
    limit_ = limit() / 2;
  }
  return Step::more;
}

Lister::Step Lister::take(std::string_view body, std::string& fault) {
  if (body.empty()) {
    return make_smaller(fault);
  }
  auto page = read_listing(body, fault);
  if (!page) {
    return Step::failed;
  }
  if (all_.revision == 0) {
    all_.revision = page->revision;
  }
  all_.skipped += page->skipped;
  const std::size_t told = page->all.size() + page->skipped;
  for (KeyValue& kv : page->all) {
    if (kv.key >= range_.from && kv.key < range_.end) {
      if (!document_ && kv.value.size() > kValueBytesMax) {
        kv.value = {};
      }
      all_.all.push_back(std::move(kv));
    }
  }
  if (document_) {
    document_ = false;
    range_ = before_;
    all_.count = static_cast<std::int64_t>(all_.all.size());
  } else {
    if (taken_ == 0) {
      all_.count += page->count;
    }
    taken_ += told;
    all_.more = page->more && page->last >= range_.from;
    range_.from = page->last + '\0';
    limit_ = std::min(limit_ * 2, page_keys_);
    if (!all_.more || taken_ >= kKeysMax) {
      return Step::done;
    }
  }
  values_ = true;
  return Step::more;
}

}  // namespace mserve::cluster
