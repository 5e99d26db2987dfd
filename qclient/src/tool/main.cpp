// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <clocale>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "mserve/client/client.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "tool/batch.hpp"
#include "tool/passwd.hpp"
#include "tool/prompt.hpp"
#include "tool/settings.hpp"

namespace {

using mserve::tool::ExitCode;
using mserve::tool::Settings;

ExitCode run(Settings& settings) {
  const bool one = settings.query && *settings.query != "-";
  settings.until_ns = one ? settings.deadline_ns() : 0;  // attaching takes from the same time
  std::string reason;
  auto client = mserve::Client::connect(settings.client, &reason);
  if (!client) {
    const auto code = client.error().code;
    const auto shown =
        mserve::tool::show_no_session(code, reason, settings.client.broker, settings.style);
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
