// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "cluster/document_keeper.hpp"
#include "stat/control_call.hpp"

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

/// Has the local broker read its configuration again, and waits for its answer beside everything
/// else. Threads: that of its io_context.
class ReloadCall {
 public:
  ReloadCall(boost::asio::io_context& context, stat::BrokerName broker);
  /// Who waits is told nothing any more.
  ~ReloadCall();
  ReloadCall(const ReloadCall&) = delete;
  ReloadCall& operator=(const ReloadCall&) = delete;

  /// Not before the last one was answered.
  /// @param answered  called once, later; after ten seconds at the latest.
  void ask(std::function<void(ReloadAnswer)> answered);

 private:
  struct Parts;
  std::shared_ptr<Parts> parts_;
};

/// What an answer means for whoever had a document read.
[[nodiscard]] ReloadAnswer reload_answer(const stat::ControlAnswer& answer);

}  // namespace mserve::cluster
