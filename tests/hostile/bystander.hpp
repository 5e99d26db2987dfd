// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "support/requests.hpp"

namespace mserve::test {

/// A broker with a real servant and a client that does nothing wrong: whatever an attacker tries,
/// these must go on working, and no descriptor may be left.
class Bystander {
 public:
  explicit Bystander(std::vector<std::string> args = {})
      : broker_(setup_with(std::move(args))), client_(broker_.client()) {
    expect_echo(client_, pattern(100));
    broker_.wait_for_counter("sessions", 2);
    descriptors_ = broker_.descriptors();
  }
  [[nodiscard]] Broker& broker() noexcept { return broker_; }
  [[nodiscard]] Client& client() noexcept { return client_; }
  /// To be called after the attackers are gone.
  void expect_unharmed() {
    for (int i = 0; i < 5; ++i) {
      expect_echo(client_, pattern(100));
    }
    expect_echo(client_, pattern(400'000));
    broker_.wait_for_counter("sessions", 2);
    broker_.wait_for_counter("queued", 0);
    broker_.wait_for_counter("running", 0);
    EXPECT_TRUE(wait_until([this] { return broker_.descriptors() == descriptors_; },
                           "no descriptor to be left"))
        << descriptors_ << " before, " << broker_.descriptors() << " after";
    EXPECT_TRUE(client_.attached());
  }

 private:
  static BrokerSetup setup_with(std::vector<std::string> args) {
    BrokerSetup setup;
    setup.args = std::move(args);
    setup.servants = 1;
    setup.servant_args = "--rows 0";
    return setup;
  }
  Broker broker_;
  Client client_;
  std::size_t descriptors_ = 0;
};

}  // namespace mserve::test
