// SPDX-License-Identifier: Apache-2.0
// `mserve-stat serve` over real sockets, beside a real broker that comes and goes.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {
namespace {

namespace json = boost::json;

/// A server for a broker, at a port of its own.
class Server {
 public:
  explicit Server(const Broker& broker, std::vector<std::string> args = {}) {
    const std::string said = dir_.path() + "/said";
    std::vector<std::string> argv{program("mserve-stat"), "serve", "--port", "0"};
    argv.insert(argv.end(), args.begin(), args.end());
    process_ = Process(Spawn{.argv = argv, .env = broker.env(), .stdout_path = said});
    const bool agent = std::find(args.begin(), args.end(), "--agent-port") != args.end();
    const std::string lead = "/\nagent 127.0.0.1:";
    EXPECT_TRUE(wait_until(
        [&] {
          const std::string text = read_file(said);
          return agent ? text.find(lead) != std::string::npos && text.ends_with("\n")
                       : text.ends_with("/\n");
        },
        "an address"));
    const std::string url = read_file(said);
    EXPECT_TRUE(url.starts_with("http://127.0.0.1:")) << url;
    port_ = static_cast<std::uint16_t>(std::strtoul(url.c_str() + 17, nullptr, 10));
    if (agent) {
      agent_port_ = static_cast<std::uint16_t>(
          std::strtoul(url.c_str() + url.find(lead) + lead.size(), nullptr, 10));
    }
  }
  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

  [[nodiscard]] shm::UniqueFd dial() const { return dial(port_); }
  /// What an agent-check is told.
  [[nodiscard]] std::string agent() const { return rest_of(dial(agent_port_)); }
  [[nodiscard]] static shm::UniqueFd dial(std::uint16_t port) {
    shm::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  /// Sends bytes, and returns all that comes until the server closes.
  [[nodiscard]] std::string answers_to(const std::string& bytes) const {
    const shm::UniqueFd fd = dial();
    (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return rest_of(fd);
  }
  [[nodiscard]] static std::string rest_of(const shm::UniqueFd& fd) {
    std::string all;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = recv(fd.get(), buffer, sizeof buffer, 0)) > 0) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    EXPECT_EQ(got, 0) << "not closed";
    return all;
  }
  [[nodiscard]] std::string get(const std::string& target) const {
    return answers_to("GET " + target +
                      " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
  }

 private:
  TempDir dir_;
  Process process_;
  std::uint16_t port_ = 0;
  std::uint16_t agent_port_ = 0;
};

std::string body_of(const std::string& answer) {
  const std::size_t at = answer.find("\r\n\r\n");
  return at != std::string::npos ? answer.substr(at + 4) : "";
}
bool has_status(const std::string& answer, int status) {
  return answer.starts_with("HTTP/1.1 " + std::to_string(status) + " ");
}
bool has_line(const std::string& text, const std::string& line) {
  return text.find("\n" + line + "\n") != std::string::npos;
}

std::vector<std::string> columns_of(const json::value& row) {
  std::vector<std::string> names;
  for (const auto& field : row.as_object()) {
    names.emplace_back(field.key());
  }
  return names;
}

TEST(Serve, TellsAnAgentCheckHowTheBrokerIs) {
  Broker broker(BrokerSetup{.args = {"--drain-delay", "inf"}, .gateway = true});
  const Server server(broker, {"--agent-port", "0"});
  const auto becomes = [&server](const std::string& line) {
    return wait_until([&] { return server.agent() == line; }, line);
  };
  EXPECT_TRUE(becomes("ready up\n"));
  broker.process().signal(SIGTERM);
  EXPECT_TRUE(becomes("drain\n"));
  broker.process().signal(SIGTERM);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_TRUE(becomes("down\n"));
  broker.start();
  EXPECT_TRUE(becomes("ready up\n"));
  broker.process().signal(SIGSTOP);
  EXPECT_TRUE(becomes("down\n"));
  broker.process().signal(SIGCONT);
  EXPECT_TRUE(becomes("ready up\n"));
}

TEST(Serve, ShowsABrokerAndSeesItGoAndComeBack) {
  Broker broker(BrokerSetup{.args = {"--policy", "match"}, .servants = 2, .gateway = true});
  Server server(broker);
  {
    Client client = broker.client();
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(await(client, send_opaque(client, pattern(40), {.route = 7})).status, Errc::ok);
    }
    EXPECT_TRUE(wait_until(
        [&] { return has_line(body_of(server.get("/metrics")), "mserve_requests_total 5"); },
        "the count of requests"));
    const std::string metrics = body_of(server.get("/metrics"));
    EXPECT_TRUE(has_line(metrics, "mserve_servants 2")) << metrics;
    EXPECT_TRUE(has_line(metrics, "mserve_dispatched_total{way=\"hit\"} 4"));
    EXPECT_TRUE(has_line(metrics, "mserve_round_trip_seconds_count 5"));
    EXPECT_TRUE(has_line(metrics, "mserve_round_trip_seconds_bucket{le=\"+Inf\"} 5"));
    EXPECT_TRUE(has_status(server.get("/healthz"), 200));
    // The same columns as mserve-stat's, for it is the same code.
    for (const char* const name :
         {"servants", "clients", "routes", "latency", "events", "counters"}) {
      const std::string answer = server.get("/api/" + std::string(name) + ".json");
      ASSERT_TRUE(has_status(answer, 200)) << answer;
      const json::array rows = json::parse(body_of(answer)).as_array();
      const json::array told = rows_of(broker, {name});
      ASSERT_FALSE(rows.empty()) << name;
      EXPECT_EQ(columns_of(rows.front()), columns_of(told.front())) << name;
    }
    EXPECT_EQ(json::parse(body_of(server.get("/api/queries.json"))).as_array().size(), 0U);
    EXPECT_TRUE(wait_until(
        [&] {
          const json::value page = json::parse(body_of(server.get("/api/page.json")));
          return !page.at("points").as_array().empty() &&
                 page.at("look").at("servants").as_array().size() == 2;
        },
        "the curve's first point"));
  }
  broker.stop();
  EXPECT_TRUE(wait_until([&] { return has_status(server.get("/healthz"), 503); }, "its end"));
  EXPECT_NE(server.get("/healthz").find("\"status\":\"no_broker\""), std::string::npos);
  EXPECT_TRUE(body_of(server.get("/metrics")).find("mserve_up 0\n") != std::string::npos);
  EXPECT_TRUE(has_status(server.get("/api/servants.json"), 503));

  broker.start();
  EXPECT_TRUE(wait_until([&] { return has_status(server.get("/healthz"), 200); }, "the next one"));
  EXPECT_TRUE(has_line(body_of(server.get("/metrics")), "mserve_requests_total 0"));

  broker.process().signal(SIGSTOP);
  EXPECT_TRUE(wait_until(
      [&] { return server.get("/healthz").find("\"status\":\"stuck\"") != std::string::npos; },
      "that it is stopped"));
  EXPECT_TRUE(has_status(server.get("/healthz"), 503));
  // A killed one leaves what it showed, and is seen to be gone all the same.
  broker.kill();
  EXPECT_TRUE(wait_until(
      [&] { return server.get("/healthz").find("\"status\":\"no_broker\"") != std::string::npos; },
      "its death"));
  server.process().signal(SIGTERM);
  EXPECT_EQ(server.process().wait(), 0);
}

TEST(Serve, SurvivesHostileRequests) {
  const Broker broker(BrokerSetup{.args = {}, .servants = 1});
  Server server(broker);
  struct Case {
    std::string bytes;
    int status;
  };
  const std::string host = "Host: localhost\r\n";
  const std::vector<Case> cases{
      {"\r\n\r\nnonsense\r\n\r\n", 400},
      {std::string("GET / HTTP/1.1\r\nHo\0st: x\r\n\r\n", 29), 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
      {"GET / HTTP/9.9\r\n" + host + "\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET http://127.0.0.1/ HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "\r\n", 405},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", 413},
      {"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
       413},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + "X: " + std::string(9000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n" + host + "\r\n", 431},
      {std::string(100'000, 'A'), 0},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
  };
  for (const Case& one : cases) {
    const std::string answer = server.answers_to(one.bytes);
    const bool refused =
        one.status == 0 ? answer.starts_with("HTTP/1.1 4") : has_status(answer, one.status);
    EXPECT_TRUE(refused) << one.bytes.substr(0, 60) << " -> " << answer.substr(0, 200);
  }
  const std::string shown = server.get("/");
  for (const char* const line :
       {"X-Content-Type-Options: nosniff", "Cache-Control: no-store",
        "Referrer-Policy: no-referrer", "Content-Security-Policy: default-src 'none'; "}) {
    EXPECT_NE(shown.find(line), std::string::npos) << line;
  }
  const std::string only_head = server.answers_to("HEAD / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(has_status(only_head, 200)) << only_head;
  EXPECT_NE(only_head.find("Content-Length: "), std::string::npos);
  EXPECT_EQ(body_of(only_head), "");

  // Whoever takes all the connections and says nothing keeps nobody out.
  const shm::UniqueFd first = server.dial();
  std::vector<shm::UniqueFd> silent;
  for (int i = 0; i < 80; ++i) {
    silent.push_back(server.dial());
  }
  EXPECT_TRUE(has_status(server.get("/healthz"), 200));
  EXPECT_EQ(Server::rest_of(first), "") << "the one that was silent for longest";

  // Several requests on one connection, sent at once.
  const std::string both =
      server.answers_to("GET /healthz HTTP/1.1\r\n" + host + "\r\nGET /healthz HTTP/1.1\r\n" +
                        host + "Connection: close\r\n\r\n");
  EXPECT_NE(both.find("HTTP/1.1 200", 10), std::string::npos) << both;
  server.process().signal(SIGINT);
  EXPECT_EQ(server.process().wait(), 0);
}

TEST(Serve, SaysWhatIsWrongWithItsAddress) {
  const Broker broker(BrokerSetup{});
  const Server server(broker);
  const Output taken = stat(broker, {"serve", "--port", std::to_string(server.port())});
  EXPECT_EQ(taken.exit_code, 1);
  EXPECT_NE(taken.err.find("cannot listen at 127.0.0.1 port"), std::string::npos) << taken.err;
  const Output name = stat(broker, {"serve", "--host", "localhost"});
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_NE(name.err.find("'localhost' is no numeric address"), std::string::npos) << name.err;
}

}  // namespace
}  // namespace mserve::test
