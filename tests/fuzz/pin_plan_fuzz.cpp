// SPDX-License-Identifier: Apache-2.0
// Any bytes as a plan of mserve-pin, and as files of /proc and /sys that it reads: a plan is
// refused with a place, or reads the same from what is written of it; files of a machine may say
// anything.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "pin/interrupts.hpp"
#include "pin/machine_files.hpp"
#include "pin/plan.hpp"
#include "pin/plan_file.hpp"

namespace {

using namespace mserve::pin;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void fuzz_plan(const std::string& text) {
  std::string fault;
  const auto plan = read_plan(text, "plan", fault);
  require(plan.has_value() == fault.empty());
  if (!plan) {
    require(fault.starts_with("plan:"));
    return;
  }
  const std::string written = write_plan(*plan, "fuzz");
  const auto again = read_plan(written, "plan", fault);
  require(again.has_value() && write_plan(*again, "fuzz") == written);
}

/// A machine of one text: each of its files holds it.
class Machine {
 public:
  Machine() : root_("/tmp/mserve-fuzz-pin." + std::to_string(getpid())) {
    std::filesystem::create_directories(root_ + "/proc/irq/1");
  }
  ~Machine() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void look(const std::string& text) const {
    for (const char* const name : {"/proc/interrupts", "/proc/irq/1/smp_affinity_list"}) {
      std::ofstream(root_ + name, std::ios::trunc) << text;
    }
    const MachineFiles files(root_);
    (void)files.line("/proc/interrupts");
    (void)files.number("/proc/interrupts");
    (void)files.cores("/proc/interrupts");
    const auto all = read_interrupts(files);
    (void)tells_affinity(files, all);
    require(all.size() <= text.size());
    require(words_of(text).size() <= text.size() && lines_of(text).size() <= text.size() + 1);
  }

 private:
  std::string root_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Machine machine;
  const std::string text(reinterpret_cast<const char*>(data), size);
  fuzz_plan(text);
  machine.look(text);
  return 0;
}
