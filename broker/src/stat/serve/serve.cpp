// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/serve.hpp"

#include <arpa/inet.h>

#include <array>
#include <cstdio>
#include <string>

#include "stat/serve/answers.hpp"
#include "stat/serve/http_server.hpp"
#include "stat/serve/watch.hpp"

namespace mserve::stat {

namespace {

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "::1";
}

}  // namespace

Served run_serve(const BrokerName& broker, const ServeOptions& options) {
  if (!is_address(options.host)) {
    (void)std::fprintf(stderr, "mserve-stat: --host: '%s' is no numeric address\n",
                       options.host.c_str());
    return Served::wrong_usage;
  }
  Watch watch(broker);
  Answers answers(watch, options);
  HttpServer server([&answers](const Ask& ask) { return answers.answer(ask); });
  if (const std::string fault = server.listen(options.host, options.port); !fault.empty()) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n", fault.c_str());
    return Served::refused;
  }
  if (options.agent_port) {
    const std::string fault = server.tell_at(options.host, *options.agent_port,
                                             [&answers] { return answers.agent_line(); });
    if (!fault.empty()) {
      (void)std::fprintf(stderr, "mserve-stat: --agent-port: %s\n", fault.c_str());
      return Served::refused;
    }
  }
  if (!is_loopback(options.host)) {
    (void)std::fprintf(stderr,
                       "mserve-stat: whoever reaches %s may read names, routes%s of this broker; "
                       "there is no password\n",
                       options.host.c_str(), options.no_queries ? "" : " and queries");
  }
  (void)std::printf("%s\n", server.url().c_str());
  if (options.agent_port) {
    (void)std::printf("agent %s\n", server.told_at().c_str());
  }
  (void)std::fflush(stdout);
  server.run([&watch] { watch.look(); });
  return Served::stopped;
}

}  // namespace mserve::stat
