// SPDX-License-Identifier: Apache-2.0
#include "cluster/etcd_calls.hpp"

#include <utility>

namespace mserve::cluster {

void EtcdCalls::open(std::shared_ptr<EtcdConnection> connection) {
  close();
  connection_ = std::move(connection);
}

void EtcdCalls::close() {
  if (const auto closed = std::exchange(connection_, nullptr)) {
    closed->close();
  }
  waiting_.clear();
  calling_ = false;
}

void EtcdCalls::call(const char* path, std::string body, Handler handler) {
  waiting_.push_back({path, std::move(body), std::move(handler)});
  next();
}

void EtcdCalls::call_first(const char* path, std::string body, Handler handler) {
  waiting_.push_front({path, std::move(body), std::move(handler)});
  next();
}

bool EtcdCalls::forget(std::string_view path) {
  return std::erase_if(waiting_,
                       [path](const Call& call) { return path.empty() || path == call.path; }) != 0;
}

void EtcdCalls::next() {
  if (calling_ || waiting_.empty() || !connection_) {
    return;
  }
  calling_ = true;
  Call call = std::move(waiting_.front());
  waiting_.pop_front();
  // A closed connection calls nobody, so an answer always belongs to this one.
  connection_->call(call.path, std::move(call.body), owner_.token(),
                    [this, held = owner_.held(), path = call.path,
                     handler = std::move(call.handler)](const HttpAnswer& answer) {
                      calling_ = false;
                      owner_.answered(path, answer, handler);
                      next();
                    });
}

}  // namespace mserve::cluster
