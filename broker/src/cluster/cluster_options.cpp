// SPDX-License-Identifier: Apache-2.0
#include "cluster/cluster_options.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>

#include "mserve/shm/names.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::cluster {

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kTtlMin = 1'000 * kMs;
constexpr std::uint64_t kTtlMax = 3'600'000 * kMs;

bool valid_host(std::string_view host) noexcept {
  return !host.empty() && host.size() <= kHostBytesMax && host.front() != '-' &&
         std::all_of(host.begin(), host.end(), shm::is_name_character);
}

bool valid_ipv6(std::string_view host) noexcept {
  return host.size() >= 2 && host.size() <= 45 && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
                  c == ':' || c == '.';
         });
}

bool valid_port(std::string_view port) noexcept {
  std::uint32_t number = 0;
  const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc{} && rest == port.data() + port.size() && number >= 1 &&
         number <= 65535 && port.size() <= 5;
}

/// Host and port of `HOST[:PORT]`; false: it is none.
bool split(std::string_view text, std::string_view& host, std::string_view& port) noexcept {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) {
      return false;
    }
    host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (!valid_ipv6(host) || (!text.empty() && text.front() != ':')) {
      return false;
    }
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    host = text.substr(0, colon);
    text.remove_prefix(colon);
    if (!valid_host(host)) {
      return false;
    }
  }
  if (!text.empty()) {
    port = text.substr(1);
    return valid_port(port);
  }
  return true;
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

std::string EtcdEndpoint::text() const {
  const bool bare = host.find(':') == std::string::npos;
  return std::string(tls ? "https://" : "http://") + (bare ? host : "[" + host + "]") + ":" + port;
}

std::optional<EtcdEndpoint> parse_etcd_url(std::string_view url) {
  EtcdEndpoint endpoint;
  if (url.starts_with("https://")) {
    endpoint.tls = true;
    url.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    url.remove_prefix(7);
  } else {
    return std::nullopt;
  }
  if (url.ends_with('/')) {
    url.remove_suffix(1);
  }
  std::string_view host;
  std::string_view port = "2379";
  if (!split(url, host, port)) {
    return std::nullopt;
  }
  endpoint.host = host;
  endpoint.port = port;
  return endpoint;
}

bool valid_address(std::string_view address) noexcept {
  std::string_view host;
  std::string_view port;
  return split(address, host, port) && !port.empty();
}

bool valid_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), shm::is_name_character);
}

std::string default_id(const std::string& broker_name) {
  const std::string host = host_name();
  return (host.substr(0, host.find('.')) + "-" + broker_name).substr(0, kNameBytesMax);
}

void ClusterOptions::complete(const std::string& broker_name, std::uint32_t port) {
  if (id.empty()) {
    id = default_id(broker_name);
  }
  if (advertise.empty() && port != 0) {
    advertise = host_name() + ":" + std::to_string(port);
  }
}

void ClusterOptions::validate(std::vector<std::string>& faults) const {
  const auto check = [&faults](bool ok, std::string fault) {
    if (!ok) {
      faults.push_back(std::move(fault));
    }
  };
  if (!enabled()) {
    check(*this == ClusterOptions{},
          "--cluster: is missing, without which the other options of a cluster mean nothing");
    return;
  }
  bool tls = false;
  for (const std::string& url : endpoints) {
    const auto endpoint = parse_etcd_url(url);
    check(endpoint.has_value(),
          "--cluster: '" + url + "' is not http://HOST:PORT or https://HOST:PORT");
    tls = tls || (endpoint && endpoint->tls);
  }
  check(endpoints.size() <= kEndpointsMax, "--cluster: at most 16 URLs");
  const std::string form = ": 1 to 31 of A-Z a-z 0-9 . _ -";
  check(valid_name(name), "--cluster-name" + form);
  check(valid_name(id), "--cluster-id" + form);
  check(zone.empty() || valid_name(zone), "--zone" + form);
  check(region.empty() || valid_name(region), "--region" + form);
  check(!advertise.empty(),
        "--advertise: HOST:PORT is needed, by which peers reach this broker, where -p PORT does "
        "not say it");
  check(advertise.empty() || valid_address(advertise),
        "--advertise: '" + advertise + "' is not HOST:PORT");
  check(ttl_ns >= kTtlMin && ttl_ns <= kTtlMax, "--cluster-ttl: 1s to 1h");
  check(cert_file.empty() == key_file.empty(), "--cluster-cert, --cluster-key: both or neither");
  check(tls || (ca_file.empty() && cert_file.empty()),
        "--cluster-ca, --cluster-cert: only with https:// in --cluster");
  check(password_file.empty() || !user.empty(),
        "--cluster-password-file: only with --cluster-user");
  check(user.size() <= 255, "--cluster-user: at most 255 bytes");
}

std::vector<std::string> ClusterOptions::flags() const {
  std::string urls;
  for (const std::string& url : endpoints) {
    urls.append(urls.empty() ? "" : ",").append(url);
  }
  std::vector<std::string> words;
  const auto add = [&words](const char* flag, const std::string& value) {
    if (!value.empty()) {
      words.insert(words.end(), {flag, value});
    }
  };
  add("--cluster", urls);
  add("--cluster-name", name);
  add("--cluster-id", id);
  add("--zone", zone);
  add("--region", region);
  add("--advertise", advertise);
  add("--cluster-ttl", std::to_string(ttl_ns / kMs) + "ms");
  add("--cluster-ca", ca_file);
  add("--cluster-cert", cert_file);
  add("--cluster-key", key_file);
  add("--cluster-user", user);
  add("--cluster-password-file", password_file);
  add("--cluster-login", login_file);
  return words;
}

std::string read_secret(const std::string& path, std::string& fault) {
  const shm::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) {
    fault = path + ": " + std::strerror(errno);
    return {};
  }
  if (S_ISREG(status.st_mode) && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    fault = path + ": others may read it: chmod 600";
    return {};
  }
  std::array<char, 4097> buffer{};
  std::size_t count = 0;
  for (ssize_t got = 1; got > 0 && count < buffer.size(); count += static_cast<std::size_t>(got)) {
    got = read(fd.get(), buffer.data() + count, buffer.size() - count);
    if (got < 0) {
      fault = path + ": " + std::strerror(errno);
      return {};
    }
  }
  std::string_view text(buffer.data(), count);
  const std::size_t end = text.find_first_of("\r\n");
  if (end == std::string_view::npos && count == buffer.size()) {
    fault = path + ": its first line is longer than 4096 bytes, which no password is";
    return {};
  }
  text = text.substr(0, end);
  if (text.empty() || text.find('\0') != std::string_view::npos) {
    fault = path + ": its first line is no password";
    return {};
  }
  return std::string(text);
}

}  // namespace mserve::cluster
