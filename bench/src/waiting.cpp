// SPDX-License-Identifier: Apache-2.0
#include "waiting.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "interrupt.hpp"

namespace mserve::bench {

using namespace std::chrono_literals;

void wait_for(std::chrono::seconds most, const std::function<bool()>& is_so,
              const std::function<std::string()>& fault) {
  const auto until = std::chrono::steady_clock::now() + most;
  while (!interrupted() && !is_so()) {
    if (std::chrono::steady_clock::now() > until) {
      throw std::runtime_error(fault());
    }
    std::this_thread::sleep_for(1ms);
  }
}

std::string http_get(const std::string& port, const std::string& path) {
  boost::asio::ip::tcp::iostream stream;
  stream.expires_after(5s);
  stream.connect("127.0.0.1", port);
  stream << "GET " << path << " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
         << std::flush;
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace mserve::bench
