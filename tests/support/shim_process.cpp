// SPDX-License-Identifier: Apache-2.0
#include "support/shim_process.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <sstream>

#include "support/wait.hpp"

namespace mserve::test {

ShimProcess::ShimProcess(const Broker& broker, std::vector<std::string> args,
                         std::map<std::string, std::string> env) {
  std::vector<std::string> argv = {program("mserve-qshim")};
  argv.insert(argv.end(), args.begin(), args.end());
  env.merge(broker.env());
  process_ = Process(
      Spawn{.argv = std::move(argv), .env = std::move(env), .stderr_path = dir_.file("shim.log")});
}

ShimProcess::ShimProcess(const Broker& broker, std::uint16_t port, std::vector<std::string> args)
    : ShimProcess(broker,
                  [&] {
                    args.insert(args.begin(), {"--q", ":" + std::to_string(port)});
                    return args;
                  }(),
                  {}) {}

ShimProcess::~ShimProcess() {
  process_.end();
  const std::string text = log();
  for (const char* const fault : {"Sanitizer", "runtime error:", "terminate called", "assertion"}) {
    EXPECT_EQ(text.find(fault), std::string::npos) << text;
  }
  if (::testing::Test::HasFailure()) {
    std::cerr << "--- log of a shim\n" << text.substr(0, 6'000) << "---\n";
  }
}

std::string ShimProcess::log() const {
  return read_file(dir_.file("shim.log"));
}

std::size_t ShimProcess::count(const std::string& text) const {
  std::size_t found = 0;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    found += line.find(text) != std::string::npos ? 1 : 0;
  }
  return found;
}

void ShimProcess::wait_for_log(const std::string& text, std::size_t times) const {
  (void)wait_until([&] { return count(text) >= times; }, "log line '" + text + "' of a shim");
}

std::uint64_t ShimProcess::peak_bytes() const {
  const std::string status = read_file("/proc/" + std::to_string(process_.pid()) + "/status");
  const std::size_t at = status.find("VmHWM:");
  EXPECT_NE(at, std::string::npos);
  return at == std::string::npos
             ? 0
             : std::strtoull(status.c_str() + at + sizeof("VmHWM:"), nullptr, 10) * 1024;
}

StandinProcess::StandinProcess(std::vector<std::string> args, std::uint16_t port) {
  args.insert(args.begin(), {program("mserve-standin"), "--port", std::to_string(port)});
  process_ = Process(Spawn{.argv = std::move(args), .stdout_path = dir_.file("out")});
  (void)wait_until(
      [&] {
        const std::string out = read_file(dir_.file("out"));
        if (out.rfind("listening ", 0) == 0 && out.back() == '\n') {
          port_ = static_cast<std::uint16_t>(std::strtoul(out.c_str() + 10, nullptr, 10));
        }
        return port_ != 0;
      },
      "the stand-in to listen");
}

}  // namespace mserve::test
