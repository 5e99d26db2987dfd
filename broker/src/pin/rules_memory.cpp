// SPDX-License-Identifier: Apache-2.0
// Where memory is, and what the kernel does to it behind our back.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

constexpr const char* kNodes = "/sys/devices/system/node";

/// The word in brackets of `always [madvise] never`.
std::string chosen_word(const std::string& text) {
  const std::size_t begin = text.find('[');
  const std::size_t end = text.find(']', begin);
  return end == std::string::npos ? "" : text.substr(begin + 1, end - begin - 1);
}

/// The chosen cores of each node.
std::map<int, CoreList> cores_by_node(const AuditInput& in) {
  std::map<int, CoreList> nodes;
  for (const std::string& name : in.files.list(kNodes)) {
    const auto number = name.starts_with("node") ? parse_cores(name.substr(4)) : std::nullopt;
    if (!number || number->size() != 1) {
      continue;
    }
    const CoreList all =
        in.files.cores(fmt::format("{}/{}/cpulist", kNodes, name)).value_or(CoreList{});
    const CoreList here = minus(in.cores, minus(in.cores, all));
    if (!here.empty()) {
      nodes[number->front()] = here;
    }
  }
  return nodes;
}

/// The largest distance between two of the nodes, where 10 is within one. 0: it is not told.
int largest_distance(const AuditInput& in, const std::map<int, CoreList>& nodes) {
  const CoreList online = in.files.cores(std::string(kNodes) + "/online").value_or(CoreList{});
  int largest = 0;
  for (const auto& [from, cores] : nodes) {
    const auto row =
        words_of(in.files.line(fmt::format("{}/node{}/distance", kNodes, from)).value_or(""));
    for (std::size_t i = 0; i < std::min(row.size(), online.size()); ++i) {
      const auto distance = parse_cores(row[i]);  // a small number, read with the same bounds
      if (nodes.contains(online[i]) && distance && distance->size() == 1) {
        largest = std::max(largest, distance->front());
      }
    }
  }
  return largest;
}

}  // namespace

void look_at_nodes(const AuditInput& in, Findings& out) {
  Finding f{.topic = "numa", .where = std::string(kNodes) + "/node*/cpulist"};
  const auto nodes = cores_by_node(in);
  const char* const beyond =
      in.around.virtual_machine ? "; a virtual machine need not show the nodes of its host" : "";
  if (nodes.empty()) {
    f.seen = "NUMA nodes cannot be read";
  } else if (nodes.size() == 1) {
    f.level = in.around.virtual_machine ? Level::unknown : Level::ok;
    f.seen = fmt::format("cores {} are on node {}{}", cores_text(in.cores), nodes.begin()->first,
                         beyond);
  } else {
    f.level = Level::costs;
    std::string parts;
    for (const auto& [node, cores] : nodes) {
      parts += fmt::format("{}{} on node {}", parts.empty() ? "" : ", ", cores_text(cores), node);
    }
    const int distance = largest_distance(in, nodes);
    f.seen =
        fmt::format("cores {}{}", parts,
                    distance > 0 ? fmt::format(" (distance {}, 10 within one)", distance) : "");
    f.where += ", distance";
    f.cost = "0.1 us for each cache line that crosses, 0.3 to 1 us for each request";
    f.mend = "take the cores of one node for broker, gateway and servants: see `mserve-pin plan`";
  }
  out.push_back(f);
  if (nodes.size() > 1 && in.files.number("/proc/sys/kernel/numa_balancing").value_or(0) != 0) {
    out.push_back({.level = Level::costs,
                   .topic = "numa",
                   .seen = "pages are moved between nodes behind the programs' back",
                   .where = "/proc/sys/kernel/numa_balancing: 1",
                   .cost = "1 to 5 us for each page fault that samples who uses a page",
                   .mend = "sysctl kernel.numa_balancing=0"});
  }
}

void look_at_transparent_pages(const AuditInput& in, Findings& out) {
  Finding f{.topic = "thp", .where = "/sys/kernel/mm/transparent_hugepage/enabled"};
  const auto text = in.files.line(f.where);
  const std::string word = chosen_word(text.value_or(""));
  if (word.empty()) {
    f.seen = text ? "the setting of transparent huge pages is not understood"
                  : "no such file: transparent huge pages are not built in, or hidden here";
  } else if (word == "always") {
    f.level = Level::costs;
    f.seen = "transparent huge pages: always";
    f.cost =
        "10 to 1000 us for a page fault that first has to compact memory, and the same when "
        "khugepaged joins pages under a running program";
    f.mend = "echo madvise > " + f.where + ", or boot with transparent_hugepage=madvise";
  } else {
    f.level = Level::ok;
    f.seen = fmt::format("transparent huge pages: {}, so only programs that ask get them", word);
  }
  out.push_back(f);
}

void look_at_huge_pages(const AuditInput& in, Findings& out) {
  constexpr const char* kPools = "/sys/kernel/mm/hugepages";
  Finding f{.topic = "hugepages", .where = std::string(kPools) + "/*/nr_hugepages"};
  const auto pools = in.files.list(kPools);
  std::int64_t idle_kib = 0;
  std::int64_t all_kib = 0;
  for (const std::string& pool : pools) {
    // hugepages-2048kB
    const auto first = pool.find_first_of("0123456789");
    if (first == std::string::npos) {
      continue;
    }
    const std::int64_t page_kib = std::strtoll(pool.c_str() + first, nullptr, 10);
    const std::string base = std::string(kPools) + "/" + pool;
    all_kib += page_kib * in.files.number(base + "/nr_hugepages").value_or(0);
    idle_kib += page_kib * in.files.number(base + "/free_hugepages").value_or(0);
  }
  if (pools.empty()) {
    f.seen = "the pools of huge pages cannot be seen";
  } else if (all_kib == 0) {
    f.level = Level::ok;
    f.seen =
        "no huge pages are reserved; mserve maps its rings with ordinary ones and asks for none";
  } else {
    f.level = Level::ok;
    f.seen = fmt::format(
        "{} MiB are reserved as huge pages, {} MiB of them free; mserve uses none of them, other "
        "programs may",
        all_kib / 1024, idle_kib / 1024);
  }
  out.push_back(f);
}

void look_at_swap(const AuditInput& in, Findings& out) {
  Finding f{.topic = "swap", .where = "/proc/swaps"};
  const auto text = in.files.read(f.where);
  const std::size_t areas = text ? lines_of(*text).size() : 0;
  if (areas == 0) {
    f.seen = "whether pages may be swapped out cannot be read";
  } else if (areas == 1) {  // the heading
    f.level = Level::ok;
    f.seen = "no swap: pages stay in memory";
  } else {
    f.level = Level::costs;
    f.seen = fmt::format("{} swap area{}", areas - 1, areas > 2 ? "s" : "");
    f.cost = "100 to 10000 us for each page that has to come back";
    f.mend =
        "swapoff -a, or MemorySwapMax=0 in mserve.slice; --lock-memory keeps the rings in "
        "memory, but not a servant's own data";
  }
  out.push_back(f);
}

}  // namespace mserve::pin
