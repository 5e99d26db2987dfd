// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <clocale>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "mserve/client/client.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "tool/batch.hpp"
#include "tool/passwd.hpp"
#include "tool/prompt.hpp"
#include "tool/settings.hpp"

namespace {

using mserve::tool::ExitCode;
using mserve::tool::Settings;

/// A broker that was started just before, as by the line above in a script, may not listen yet.
mserve::Result<mserve::Client> connect(const Settings& settings, std::string& reason) {
  constexpr std::uint64_t kStartingNs = 1'000'000'000;
  constexpr auto kLook = std::chrono::milliseconds(20);
  std::uint64_t until_ns = mserve::shm::steady_now() + kStartingNs;
  until_ns = settings.until_ns != 0 ? std::min(until_ns, settings.until_ns) : until_ns;
  for (;;) {
    auto client = mserve::Client::connect(settings.client, &reason);
    if (client || client.error().code != mserve::Errc::no_broker ||
        mserve::shm::steady_now() >= until_ns) {
      return client;
    }
    std::this_thread::sleep_for(kLook);
  }
}

ExitCode run(Settings& settings) {
  const bool one = settings.query && *settings.query != "-";
  settings.until_ns = one ? settings.deadline_ns() : 0;  // attaching takes from the same time
  std::string reason;
  auto client = connect(settings, reason);
  if (!client) {
    const auto code = client.error().code;
    const auto shown = mserve::tool::show_no_session(code, reason, settings.client, settings.style);
    std::cout << shown.out;
    std::cerr << shown.err;
    return mserve::tool::exit_code_of(code);
  }
  if (one) {
    return mserve::tool::run_query(client.value(), *settings.query, settings);
  }
  if (settings.query || isatty(STDIN_FILENO) == 0) {
    return mserve::tool::run_lines(client.value(), std::cin, settings);
  }
  return mserve::tool::Prompt(client.value(), settings).run();
}

}  // namespace

int main(int argc, char** argv) {
  if (!mserve::shm::hold_standard_descriptors()) {
    return static_cast<int>(ExitCode::no_broker);
  }
  std::setlocale(LC_CTYPE, "");  // what is typed at the prompt may be more than ASCII
  try {
    if (argc > 1 && std::string_view(argv[1]) == "passwd") {
      return mserve::tool::run_passwd(argc - 1, argv + 1);
    }
    Settings settings;
    if (const auto done = mserve::tool::parse_settings(argc, argv, settings)) {
      return *done;
    }
    return static_cast<int>(run(settings));
  } catch (const std::exception& e) {
    std::cerr << "mserve-client: " << e.what() << '\n';
    return static_cast<int>(ExitCode::no_broker);
  }
}
