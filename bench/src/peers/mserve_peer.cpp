// SPDX-License-Identifier: Apache-2.0
// mserve itself, measured by the same code as its peers. Opaque payload with a route.
//   ends block         as --idle auto: yield or spin for a while, then sleep
//   relay spin, yield  mserve-broker --idle spin, --idle yield
//   relay block        mserve-broker --idle auto
#include <sys/wait.h>

#include <cstring>
#include <stdexcept>

#include "child.hpp"
#include "ends.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/parking.hpp"
#include "peers/child_relay.hpp"
#include "peers/kinds.hpp"

namespace mserve::bench {
namespace {

/// As many requests as a peer's servant finds in its queue.
constexpr std::uint32_t kCredit = 64;
constexpr std::uint32_t kLooksPerCheck = 1U << 16;
constexpr std::uint64_t kReceiveNsMax = std::uint64_t{kReceiveMsMax} * 1'000'000;

[[noreturn]] void fail_in_mserve(const std::string& what) {
  throw std::runtime_error("mserve: " + what);
}

shm::Attachment open_attachment(const PeerOptions& options, shm::Role role) {
  shm::AttachOptions attach_options;
  attach_options.broker = kBrokerName;
  attach_options.directory = options.directory;
  attach_options.role = role;
  attach_options.name = "mserve-bench";
  attach_options.credit = kCredit;
  std::string reason;
  auto attachment = shm::Attachment::open(attach_options, &reason);
  if (!attachment) {
    fail_in_mserve(std::string("cannot attach: ") + to_string(attachment.error().code) + " " +
                   reason);
  }
  return std::move(attachment).value();
}

class MserveEndpoint final : public Endpoint {
 public:
  MserveEndpoint(shm::Attachment attachment, shm::Role role)
      : attachment_(std::move(attachment)), servant_(role == shm::Role::servant) {
    header_.flags = shm::kFlagOpaque;
    header_.kind = servant_ ? shm::Kind::reply : shm::Kind::request;
    header_.aux = servant_ ? shm::pack({attachment_.info().servant, 0}) : kRoute;
  }

  bool try_send(std::span<const std::byte> message) override {
    header_.id += servant_ ? 0 : 1;
    if (!shm::try_send_whole(attachment_.outgoing(), header_, {}, message)) {
      header_.id -= servant_ ? 0 : 1;
      return false;
    }
    attachment_.wake_broker();
    return true;
  }

  bool try_receive(std::span<std::byte> message) override {
    shm::FrameView view;
    const Errc code = attachment_.incoming().front(view);
    if (code == Errc::empty) {
      if (++empty_looks_ % kLooksPerCheck == 0) [[unlikely]] {
        check_alive();
      }
      return false;
    }
    if (code != Errc::ok) {
      fail_in_mserve("the broker sent a frame that is none");
    }
    const bool ours = view.header.kind == (servant_ ? shm::Kind::request : shm::Kind::reply);
    if (ours) {
      check(view, message.size());
      std::memcpy(message.data(), view.payload.data(), message.size());
      if (servant_) {
        header_.id = view.header.id;
      }
    }
    attachment_.incoming().release();
    return ours;
  }

  bool receive(std::span<std::byte> message) override {
    const std::uint64_t until = shm::steady_now() + kReceiveNsMax;
    while (!try_receive(message)) {
      if (idler_.idle() == shm::Idler::Step::park) {
        // Whatever it returns, the ring tells the rest.
        (void)attachment_.wait(shm::steady_now() + shm::kSleepNsMax, shm::SleepOn::futex);
        idler_.reset();
        check_alive();
        if (shm::steady_now() > until) {
          return false;
        }
      }
    }
    idler_.reset();
    return true;
  }

 private:
  [[gnu::cold]] void check_alive() {
    if (attachment_.check() != Errc::ok) {
      fail_in_mserve("the broker went away: " + attachment_.closing_reason());
    }
  }
  void check(const shm::FrameView& view, std::size_t payload_bytes) const {
    if (!servant_ && shm::unpack_reply(view.header.aux).status != 0) {
      fail_in_mserve("refused: " + std::string(to_string(static_cast<Errc>(
                                       shm::unpack_reply(view.header.aux).status))));
    }
    if (view.payload.size() != payload_bytes) {
      fail_in_mserve(std::to_string(view.payload.size()) + " bytes instead of " +
                     std::to_string(payload_bytes));
    }
  }

  shm::Attachment attachment_;
  shm::FrameHeader header_;
  bool servant_;
  std::uint32_t empty_looks_ = 0;
  shm::Idler idler_{shm::IdleStrategy::automatic};
};

class MservePeer final : public Peer {
 public:
  MservePeer(const PeerOptions& options, std::string broker_path)
      : options_(options), broker_path_(std::move(broker_path)) {}

  std::unique_ptr<Relay> start_relay() override {
    const Wait wait = options_.setting.relay;
    std::vector<std::string> command = {broker_path_,
                                        "--name",
                                        kBrokerName,
                                        "--dir",
                                        options_.directory,
                                        "--log-level",
                                        "warning",
                                        "--idle",
                                        wait == Wait::spin    ? "spin"
                                        : wait == Wait::yield ? "yield"
                                                              : "auto"};
    if (relay_core(options_) >= 0) {
      command.insert(command.end(), {"--core", std::to_string(relay_core(options_))});
    }
    return std::make_unique<ChildRelay>(std::move(command), options_.directory + "/log",
                                        Child::Ready::by_descriptor);
  }
  std::unique_ptr<Endpoint> client() override { return open(shm::Role::client); }
  std::unique_ptr<Endpoint> servant() override { return open(shm::Role::servant); }

 private:
  [[nodiscard]] std::unique_ptr<Endpoint> open(shm::Role role) const {
    return std::make_unique<MserveEndpoint>(open_attachment(options_, role), role);
  }

  PeerOptions options_;
  std::string broker_path_;
};

}  // namespace

std::unique_ptr<Peer> open_mserve_peer(const PeerOptions& options, const std::string& broker_path) {
  return std::make_unique<MservePeer>(options, broker_path);
}

}  // namespace mserve::bench
