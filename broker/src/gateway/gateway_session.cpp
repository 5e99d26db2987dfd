// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway_session.hpp"

#include <utility>

namespace mserve::broker {

namespace {

class AttachedSession final : public GatewaySession {
 public:
  explicit AttachedSession(shm::Attachment attachment) noexcept
      : attachment_(std::move(attachment)) {}

  shm::RingProducer& outgoing() noexcept override { return attachment_.outgoing(); }
  shm::RingConsumer& incoming() noexcept override { return attachment_.incoming(); }
  shm::RingProducer& control() noexcept override { return attachment_.control(); }
  const shm::SessionInfo& info() const noexcept override { return attachment_.info(); }
  void wake_broker() noexcept override { attachment_.wake_broker(); }
  bool prepare_sleep() noexcept override { return attachment_.prepare_sleep(); }
  Errc finish_sleep() noexcept override { return attachment_.finish_sleep(); }
  Errc check() noexcept override { return attachment_.check(); }
  std::string closing_reason() const override { return attachment_.closing_reason(); }
  int fd() const noexcept override { return attachment_.fd(); }

 private:
  shm::Attachment attachment_;
};

}  // namespace

Result<std::unique_ptr<GatewaySession>> attach_gateway(const shm::AttachOptions& options,
                                                       std::string& reason) {
  auto attachment = shm::Attachment::open(options, &reason);
  if (!attachment) {
    return attachment.error();
  }
  return std::unique_ptr<GatewaySession>(
      std::make_unique<AttachedSession>(std::move(attachment).value()));
}

}  // namespace mserve::broker
