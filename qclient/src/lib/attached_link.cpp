// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "lib/link.hpp"

namespace mserve {
namespace {

/// The real thing: a session with a broker on this host.
class AttachedLink final : public Link {
 public:
  AttachedLink(shm::Attachment attachment, std::string name) noexcept
      : attachment_(std::move(attachment)), name_(std::move(name)) {}

  shm::RingProducer& outgoing() noexcept override { return attachment_.outgoing(); }
  shm::RingConsumer& incoming() noexcept override { return attachment_.incoming(); }
  shm::RingProducer& control() noexcept override { return attachment_.control(); }
  const shm::SessionInfo& info() const noexcept override { return attachment_.info(); }
  void wake_broker() noexcept override { attachment_.wake_broker(); }
  Errc wait(std::uint64_t deadline_ns) noexcept override { return attachment_.wait(deadline_ns); }
  bool prepare_sleep() noexcept override { return attachment_.prepare_sleep(); }
  Errc finish_sleep() noexcept override { return attachment_.finish_sleep(); }
  Errc check() noexcept override { return attachment_.check(); }
  std::string closing_reason() const override { return attachment_.closing_reason(); }
  int fd() const noexcept override { return attachment_.fd(); }
  const std::string& endpoint() const noexcept override { return name_; }

 private:
  shm::Attachment attachment_;
  std::string name_;
};

}  // namespace

LinkFactory attach_to_broker(const ClientOptions& options, const std::string& name) {
  shm::AttachOptions attach;
  attach.broker = name;
  attach.directory = options.directory;
  attach.role = shm::Role::client;
  attach.name = options.name;
  attach.ring_bytes = options.ring_bytes;
  attach.lock_memory = options.lock_memory;
  return [attach](std::uint64_t attach_ns, std::string* reason) -> Result<std::unique_ptr<Link>> {
    shm::AttachOptions now = attach;
    now.timeout_ns = attach_ns;
    auto opened = shm::Attachment::open(now, reason);
    if (!opened) {
      return opened.error();
    }
    return std::unique_ptr<Link>(
        std::make_unique<AttachedLink>(std::move(opened).value(), now.broker));
  };
}

}  // namespace mserve
