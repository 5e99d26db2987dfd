// SPDX-License-Identifier: Apache-2.0
#include "data/data_loan.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <thread>

#include "mserve/shm/monitor.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {
namespace {

/// A data plane with nobody attached, and a thread that runs it through a loan.
class DataLoanTest : public ::testing::TestWithParam<shm::IdleStrategy> {
 protected:
  DataLoanTest() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = DataPlane::kCommandMark;
    EXPECT_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, command_fd_.get(), &event), 0);
  }
  static BrokerOptions options() {
    BrokerOptions o;
    o.max_sessions = 4;
    o.max_queue = 16;
    o.max_connections = 4;
    o.max_queue_bytes = o.max_pending_bytes = 1U << 20;
    return o;
  }
  void stop() {
    Command command;
    command.kind = Command::Kind::stop;
    tell(commands_, command_fd_.get(), command);
  }

  shm::UniqueFd epoll_{epoll_create1(EPOLL_CLOEXEC)};
  shm::UniqueFd command_fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  shm::UniqueFd report_fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Queue<Command> commands_{16};
  Queue<Report> reports_{16};
  shm::CountersWriter counters_ =
      std::move(shm::CountersWriter::create(
                    {.broker = "t" + std::to_string(::getpid()), .broker_epoch = 1}))
          .value();
  shm::MonitorSegment monitor_ =
      std::move(shm::MonitorSegment::create(
                    {.counters_name = counters_.name(), .broker_epoch = 1, .sessions = 4}))
          .value();
  DataPlane data_{options(),
                  false,
                  {.commands = &commands_,
                   .reports = &reports_,
                   .epoll_fd = epoll_.get(),
                   .command_fd = command_fd_.get(),
                   .report_fd = report_fd_.get(),
                   .monitor = &monitor_},
                  DataCounters::add_to(counters_),
                  shm::Idler(GetParam())};
  DataLoan loan_{data_, commands_, command_fd_.get()};
};

TEST_P(DataLoanTest, ShowsItselfBeforeTheFirstPass) {
  const shm::MonitorTotals totals = monitor_.broker().totals.get();
  EXPECT_GT(totals.told_at, 0U) << "or it would be taken for one that hangs";
  EXPECT_EQ(totals.policy, static_cast<std::uint64_t>(options().policy));
}

TEST_P(DataLoanTest, IsGivenAgainAfterItCameBackAndNeverAfterTheEnd) {
  std::thread owner([this] { loan_.run(); });
  for (int i = 0; i < 3; ++i) {
    DataPlane* const lent = loan_.borrow();
    ASSERT_EQ(lent, &data_);
    EXPECT_FALSE(lent->pass());  // ours to run: a race detector would see the owner do it too
    if (lent->prepare_sleep()) {
      lent->finish_sleep(0);
    }
    EXPECT_FALSE(lent->stopped());
    loan_.give_back();
  }
  stop();
  owner.join();
  EXPECT_TRUE(data_.stopped());
  EXPECT_EQ(loan_.borrow(), nullptr);
}

TEST_P(DataLoanTest, WhatStopsItWhileItIsLentEndsTheOwnerWhenItComesBack) {
  std::thread owner([this] { loan_.run(); });
  DataPlane* const lent = loan_.borrow();
  ASSERT_EQ(lent, &data_);
  stop();
  EXPECT_FALSE(lent->prepare_sleep());
  EXPECT_TRUE(lent->stopped());
  loan_.give_back();
  owner.join();
}

INSTANTIATE_TEST_SUITE_P(Strategies, DataLoanTest,
                         ::testing::Values(shm::IdleStrategy::yield, shm::IdleStrategy::park),
                         [](const auto& test) { return std::string(shm::to_string(test.param)); });

}  // namespace
}  // namespace mserve::broker
