// SPDX-License-Identifier: Apache-2.0
// mserve-broker-train: what the data thread does all day, for the compiler to count which ways it
// takes (.cmake/Profile.cmake). It is built and run by the build alone. Its answers are counted, so
// that a profile of something broken is none. What it does follows from its own numbers, but for
// what the clock decides and the seed of the tables of routes.
#include <cstdio>
#include <exception>

#include "train/stage.hpp"

namespace mserve::broker {
namespace {

constexpr std::uint32_t kPassesMax = 1'000'000;

/// Each client sends `window` requests over `routes` routes, `rounds` times, and takes all answers.
/// @return whether each was answered.
bool run(const StageShape& shape, std::uint32_t rounds, std::uint32_t window,
         std::uint32_t routes = 1) {
  Stage stage(shape);
  const std::uint32_t wanted = shape.clients * window;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    stage.ask(window, routes);
    std::uint32_t answered = 0;
    for (std::uint32_t pass = 0; answered < wanted && pass < kPassesMax; ++pass) {
      (void)stage.pass();
      stage.serve(shape.credit == 1 ? 1 : ~std::uint32_t{0});
      answered += stage.take_answers();
    }
    if (answered != wanted) {
      return false;
    }
    for (int empty = 0; empty < 4; ++empty) {  // what a spinning thread does most
      (void)stage.pass();
    }
  }
  return true;
}

constexpr std::uint32_t kRounds = 20'000;

/// A client and a servant: one request at a time, some, and many under way; with what they and
/// their answers may carry.
bool run_pairs() {
  StageShape told;
  told.flags = shm::kFlagOpaque | shm::kFlagWantInfo;
  StageShape repeatable;
  repeatable.flags = shm::kFlagOpaque | shm::kFlagRepeatable;
  StageShape longer;
  longer.payload_bytes = 2000;
  StageShape limited;
  limited.options.timeout = limited.options.queue_timeout = 60'000'000'000;
  return run({}, 4 * kRounds, 1) && run({}, kRounds, 8) && run({}, kRounds / 8, 64) &&
         run(told, kRounds, 1) && run(repeatable, kRounds / 4, 8) && run(longer, kRounds / 4, 8) &&
         run(limited, kRounds / 4, 1);
}

/// Clients that compete for busy servants, over more routes than these hold.
bool run_crowds() {
  constexpr Policy kEach[] = {Policy::match, Policy::orig, Policy::even, Policy::least,
                              Policy::weighted};
  for (const Policy policy : kEach) {
    StageShape crowd;
    crowd.clients = crowd.servants = 4;
    crowd.credit = 1;
    crowd.options.policy = policy;
    const std::uint32_t rounds = policy == Policy::match ? kRounds / 8 : kRounds / 64;
    if (!run(crowd, rounds, 1, 8) || !run(crowd, rounds, 12, 8)) {
      return false;
    }
  }
  return true;
}

/// One that asks, beside silent ones that are looked at now and then.
bool run_silent() {
  StageShape silent;
  silent.clients = 100;
  silent.options.client_ring = 4096;
  silent.options.cool = 0;
  Stage stage(silent);
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    if (!stage.relay_once(kPassesMax)) {
      return false;
    }
    for (int empty = 0; empty < 16; ++empty) {
      (void)stage.pass();
    }
  }
  return true;
}

}  // namespace
}  // namespace mserve::broker

int main() try {
  using namespace mserve::broker;
  if (!run_pairs() || !run_crowds() || !run_silent()) {
    (void)std::fputs("mserve-broker-train: a request was not answered\n", stderr);
    return 1;
  }
  return 0;
} catch (const std::exception& e) {
  (void)std::fprintf(stderr, "mserve-broker-train: %s; -DMSERVE_PGO=OFF does without it\n",
                     e.what());
  return 1;
}
