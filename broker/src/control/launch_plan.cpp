// SPDX-License-Identifier: Apache-2.0
#include "control/launch_plan.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string_view>

#include "mserve/shm/unique_fd.hpp"
#include "usage.hpp"

namespace mserve::broker {

namespace {

constexpr const char* kLoopback = "127.0.0.1";  // Q_SERVANTOF compares the address
constexpr std::uint32_t kPortMax = 65535;

bool on_path(const std::string& command) {
  if (command.find('/') != std::string::npos) {
    return access(command.c_str(), X_OK) == 0;
  }
  const char* const path = std::getenv("PATH");
  std::string left = path != nullptr ? path : "/usr/bin:/bin";
  while (!left.empty()) {
    const std::size_t colon = left.find(':');
    const std::string candidate = left.substr(0, colon) + "/" + command;
    if (access(candidate.c_str(), X_OK) == 0) {
      return true;
    }
    left = colon == std::string::npos ? "" : left.substr(colon + 1);
  }
  return false;
}

/// $QBIN, else q.
std::string q_of(const PlanContext& context) {
  const char* const given = context.env("QBIN");
  return given != nullptr && *given != '\0' ? given : "q";
}

std::string shim_of(const PlanContext& context) {
  return own_program("mserve-qshim", context);
}

/// It becomes part of command lines, of which ssh's would take a leading dash for an option.
bool host_ok(const std::string& host) {
  return !host.empty() && host.front() != '-' &&
         std::all_of(host.begin(), host.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || std::strchr("._-:@", c) != nullptr;
         });
}

/// Where one q process runs.
struct Place {
  std::string host;  ///< Empty: here.
  std::uint32_t port = 0;
  std::string servant_of;  ///< The address by which it sees us; empty: its host cannot be found.
};

/// Host after host gets its share, as q's `(count hosts;0N)#til N` deals them out. Each is looked
/// up once, however many q processes run there.
std::vector<Place> places_of(const BrokerOptions& options, const PlanContext& context) {
  std::vector<std::string> hosts = options.hosts;
  if (hosts.empty()) {
    hosts.emplace_back();
  }
  const std::size_t count = options.servant_count;
  std::vector<Place> places;
  for (std::size_t host = 0; host < hosts.size(); ++host) {
    const std::size_t begin = host * count / hosts.size();
    const std::size_t end = (host + 1) * count / hosts.size();
    Place place;
    place.host = hosts[host] == "localhost" ? "" : hosts[host];
    place.servant_of = kLoopback;
    if (!place.host.empty() && begin < end) {
      place.servant_of = host_ok(place.host) ? context.address_towards(place.host) : "";
    }
    for (std::size_t at = begin; at < end; ++at) {
      place.port = context.port + static_cast<std::uint32_t>(at - begin) + 1;
      places.push_back(place);
    }
  }
  return places;
}

std::string filled_in(std::string word, std::string_view key, const std::string& value) {
  for (std::size_t at = word.find(key); at != std::string::npos;
       at = word.find(key, at + value.size())) {
    word.replace(at, key.size(), value);
  }
  return word;
}

using Environment = std::vector<std::pair<std::string, std::string>>;

/// What LLnC's scripts give a servant: who may connect, and what to load.
Environment q_environment(const Place& place, const PlanContext& context) {
  Environment env{{"Q_SERVANTOF", place.servant_of}};
  if (const char* const plugins = context.env("Q_PLUGINS"); plugins != nullptr) {
    env.emplace_back("Q_PLUGINS", plugins);
  }
  return env;
}

std::vector<std::string> q_command(const Place& place, const BrokerOptions& options,
                                   const PlanContext& context) {
  std::vector<std::string> words{q_of(context), options.servant_command};
  words.insert(words.end(), options.q_args.begin(), options.q_args.end());
  words.insert(words.end(), {"-p", std::to_string(place.port)});
  return words;
}

/// --launch with everything filled in.
std::vector<std::string> launch_command(const Place& place, const BrokerOptions& options,
                                        const PlanContext& context) {
  std::string command = "exec env";
  for (const auto& [name, value] : q_environment(place, context)) {
    command.append(" ").append(program::shell_word(std::string(name).append("=").append(value)));
  }
  for (const std::string& word : q_command(place, options, context)) {
    command.append(" ").append(program::shell_word(word));
  }
  std::vector<std::string> words;
  std::istringstream launch(options.launch);
  for (std::string word; launch >> word; words.push_back(std::move(word))) {
    word = filled_in(std::move(word), "{host}", place.host);
    word = filled_in(std::move(word), "{port}", std::to_string(place.port));
    word = filled_in(std::move(word), "{script}", options.servant_command);
    word = filled_in(std::move(word), "{command}", command);
  }
  return words;
}

std::string why_not_here(const BrokerOptions& options, const PlanContext& context) {
  const std::string q = q_of(context);
  if (!context.executable(q)) {
    return "cannot run '" + q + "' for " + options.servant_command +
           ": put q on PATH or its path into QBIN, or start the q processes yourself and attach "
           "each with mserve-qshim --q HOST:PORT";
  }
  if (access(options.servant_command.c_str(), R_OK) != 0) {
    return "cannot read the script " + options.servant_command;
  }
  return {};
}

std::string why_not_on(const Place& place, const BrokerOptions& options,
                       const PlanContext& context) {
  const std::string& host = place.host;
  if (!host_ok(host)) {
    return "'" + host + "' is no host name";
  }
  std::istringstream launch(options.launch);
  std::string program;
  launch >> program;
  if (program.empty() || !context.executable(program)) {
    return "cannot run '" + program + "', which --launch needs to start q on " + host +
           "; install it, or say another way with --launch";
  }
  if (place.servant_of.empty()) {
    return "cannot find the host " + host;
  }
  return {};
}

/// What is wrong whatever the hosts are like.
std::string why_no_q(const BrokerOptions& options, const PlanContext& context) {
  if (context.port == 0) {
    return options.servant_command +
           " needs -p PORT: its q processes listen on the ports behind that one";
  }
  if (!context.executable(shim_of(context))) {
    return "cannot find mserve-qshim beside mserve-broker or on PATH";
  }
  for (const std::string& host : options.hosts) {
    if (std::count(options.hosts.begin(), options.hosts.end(), host) > 1) {
      return "host " + host + " is given twice: its q processes would share ports";
    }
  }
  return {};
}

std::string why_not_at(const Place& place, const BrokerOptions& options,
                       const PlanContext& context) {
  if (place.port > kPortMax) {
    return "-p " + std::to_string(context.port) + " leaves no room for the ports behind it";
  }
  return place.host.empty() ? why_not_here(options, context) : why_not_on(place, options, context);
}

/// Where a launched servant's program, or q, is put; and its shim.
CoreList program_cores(const BrokerOptions& options, std::uint32_t number) {
  return number <= options.servant_cores.size() ? options.servant_cores[number - 1].cores
                                                : CoreList{};
}
CoreList shim_cores(const BrokerOptions& options, std::uint32_t number) {
  if (number > options.servant_cores.size() || options.servant_cores[number - 1].shim.empty()) {
    return program_cores(options, number);
  }
  return options.servant_cores[number - 1].shim;
}

void add_q_servant(std::vector<Program>& programs, std::uint32_t number, const Place& place,
                   const BrokerOptions& options, const PlanContext& context) {
  const std::string port = std::to_string(place.port);
  if (place.host.empty()) {
    programs.push_back({number, "q", q_command(place, options, context),
                        q_environment(place, context), program_cores(options, number)});
    programs.push_back({number,
                        "qshim",
                        {shim_of(context), "--q", std::string(kLoopback) + ":" + port},
                        {},
                        shim_cores(options, number)});
    return;
  }
  // What runs here is ssh, which needs no core that a servant could have.
  programs.push_back(
      {number, "launch", launch_command(place, options, context), {}, options.control_cores});
  std::string host = place.host.substr(place.host.find('@') + 1);  // npos + 1: all of it
  if (host.find(':') != std::string::npos) {
    host = "[" + host + "]";
  }
  programs.push_back({number,
                      "qshim",
                      {shim_of(context), "--tier", "1", "--q", host + ":" + port},
                      {},
                      shim_cores(options, number)});
}

/// Of the interface through which the host is reached; nothing is sent.
std::string address_towards(const std::string& host) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const std::string name = host.substr(host.find('@') + 1);
  if (getaddrinfo(name.c_str(), "22", &wanted, &found) != 0) {
    return {};
  }
  std::string address;
  for (const addrinfo* at = found; at != nullptr && address.empty(); at = at->ai_next) {
    const shm::UniqueFd fd(socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage own{};
    socklen_t bytes = sizeof(own);
    std::array<char, NI_MAXHOST> text{};
    if (fd && connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0 &&
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &bytes) == 0 &&
        getnameinfo(reinterpret_cast<const sockaddr*>(&own), bytes, text.data(), text.size(),
                    nullptr, 0, NI_NUMERICHOST) == 0) {
      address = text.data();
    }
  }
  freeaddrinfo(found);
  return address;
}

std::vector<Program> plan_q(const BrokerOptions& options, const PlanContext& context,
                            std::string& fault) {
  std::vector<Program> programs;
  fault = why_no_q(options, context);
  if (!fault.empty()) {
    return programs;
  }
  std::uint32_t number = 0;
  for (const Place& place : places_of(options, context)) {
    fault = why_not_at(place, options, context);
    if (!fault.empty()) {
      return {};
    }
    add_q_servant(programs, ++number, place, options, context);
  }
  return programs;
}

/// What keeps this broker in its cluster; nothing without one.
std::vector<Program> plan_cluster(const BrokerOptions& options, const PlanContext& context,
                                  std::string& fault) {
  if (!options.cluster.enabled()) {
    return {};
  }
  Program program{
      0, "cluster", {own_program("mserve-cluster", context)}, {}, options.control_cores};
  if (!context.executable(program.argv[0])) {
    fault = "cannot find mserve-cluster, which --cluster needs, beside mserve-broker or on PATH";
    return {};
  }
  const std::vector<std::string> flags = options.cluster.flags();
  program.argv.insert(program.argv.end(), flags.begin(), flags.end());
  return {std::move(program)};
}

std::vector<Program> plan_servants(const BrokerOptions& options, const PlanContext& context,
                                   std::string& fault) {
  std::vector<Program> programs;
  if (options.servant_count == 0) {
    return programs;
  }
  if (options.launches_q()) {
    return plan_q(options, context, fault);
  }
  const std::string& given = options.servant_command;
  const bool named = given.find('/') == std::string::npos;
  const std::string command =
      named && !context.executable(given) ? own_program(given.c_str(), context) : given;
  if (!context.executable(command)) {
    std::error_code ignored;
    fault = "cannot run '" + given + "': " +
            (given.find(' ') != std::string::npos
                 ? "no such program; its arguments go into --servant-args"
             : named ? "no such program on PATH or beside mserve-broker; give its path"
             : std::filesystem::exists(given, ignored)
                 ? "it is no program that may be run: chmod +x, or correct its path"
                 : "no such program; correct its path");
    return programs;
  }
  for (std::uint32_t number = 1; number <= options.servant_count; ++number) {
    Program program{number, "servant", {command}, {}, program_cores(options, number)};
    program.argv.insert(program.argv.end(), options.servant_args.begin(),
                        options.servant_args.end());
    programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace

std::string own_program(const char* name, const PlanContext& context) {
  const std::string beside = context.own_directory + "/" + name;
  return context.executable(beside) ? beside : name;
}

std::vector<Program> plan_programs(const BrokerOptions& options, const PlanContext& context,
                                   std::string& fault) {
  std::vector<Program> programs = plan_cluster(options, context, fault);
  if (fault.empty()) {
    std::vector<Program> servants = plan_servants(options, context, fault);
    std::move(servants.begin(), servants.end(), std::back_inserter(programs));
  }
  return fault.empty() ? programs : std::vector<Program>();
}

PlanContext plan_context(std::uint32_t port) {
  std::error_code ignored;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return {[](const char* name) { return std::getenv(name); }, on_path, self.parent_path().string(),
          port, address_towards};
}

}  // namespace mserve::broker
