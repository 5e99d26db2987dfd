// SPDX-License-Identifier: Apache-2.0
#include "standin/standin.hpp"

#include <cstdlib>
#include <utility>

#include "standin/loop.hpp"
#include "standin/sockets.hpp"

namespace mserve::test {

std::string StandinOptions::default_uds_dir() {
  const char* const given = std::getenv("QUDSPATH");
  return given != nullptr && *given != '\0' ? given : "/tmp";
}

Standin::Standin(StandinOptions options) : loop_(std::make_unique<Loop>(std::move(options))) {}

Standin::~Standin() {
  stop();
}

void Standin::start() {
  thread_ = std::thread([this] { loop_->run(); });
}

void Standin::run() {
  loop_->run();
}

void Standin::stop() {
  request_stop();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    loop_->run();  // never started: closes what the constructor opened
  }
}

void Standin::request_stop() noexcept {
  loop_->request_stop();
}

std::uint16_t Standin::port() const noexcept {
  return loop_->options().port;
}

std::string Standin::uds_path() const {
  return uds_name(loop_->options().uds_dir, port());
}

void Standin::hold() noexcept {
  loop_->hold(true);
}

void Standin::release() noexcept {
  loop_->hold(false);
}

void Standin::interrupt() noexcept {
  loop_->interrupt();
}

void Standin::drop_connections() noexcept {
  loop_->drop_connections();
}

bool Standin::running() const noexcept {
  return loop_->counters().running.load(std::memory_order_acquire);
}

std::uint64_t Standin::connections() const noexcept {
  return loop_->counters().connections.load(std::memory_order_acquire);
}

std::uint64_t Standin::refused() const noexcept {
  return loop_->counters().refused.load(std::memory_order_acquire);
}

std::uint64_t Standin::open() const noexcept {
  return loop_->counters().open.load(std::memory_order_acquire);
}

std::uint64_t Standin::messages() const noexcept {
  return loop_->counters().messages.load(std::memory_order_acquire);
}

std::uint64_t Standin::queries() const noexcept {
  return loop_->counters().queries.load(std::memory_order_acquire);
}

std::uint64_t Standin::answers() const noexcept {
  return loop_->counters().answers.load(std::memory_order_acquire);
}

}  // namespace mserve::test
