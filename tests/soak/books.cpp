// SPDX-License-Identifier: Apache-2.0
#include "soak/books.hpp"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace mserve::test {

namespace {

void line(std::ostream& out, const std::string& name, std::uint64_t count) {
  out << "  " << std::left << std::setw(38) << name << std::right << std::setw(12) << count << '\n';
}

}  // namespace

void SoakBooks::failed(const std::string& why, std::uint64_t count) {
  if (count == 0) {
    return;
  }
  add(failed_, count);
  const std::scoped_lock lock(mutex_);
  reasons_[why] += count;
}

std::uint64_t SoakBooks::faults() const noexcept {
  std::uint64_t sum = 0;
  for (const Count& count : faults_) {
    sum += get(count);
  }
  return sum;
}

std::uint64_t SoakBooks::lost() const noexcept {
  const std::uint64_t ended = get(answered_) + get(failed_) + get(abandoned_);
  return get(sent_) - std::min(get(sent_), ended);
}

bool SoakBooks::balanced() const noexcept {
  const bool each_kind = std::all_of(faults_.begin(), faults_.end(),
                                     [](const Count& count) { return get(count) > 0; });
  return each_kind && get(answered_) > 0 && lost() == 0 && get(duplicated_) == 0 &&
         get(wrong_) == 0 && get(sent_) == get(answered_) + get(failed_) + get(abandoned_);
}

std::string SoakBooks::table() const {
  std::ostringstream out;
  out << "faults injected\n";
  for (std::size_t i = 0; i < kFaults; ++i) {
    line(out, kFaultNames[i], get(faults_[i]));
  }
  out << "requests\n";
  line(out, "sent", get(sent_));
  line(out, "answered", get(answered_));
  line(out, "failed", get(failed_));
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [why, count] : reasons_) {
      line(out, "  " + why, count);
    }
  }
  line(out, "given up by a client that hung up", get(abandoned_));
  line(out, "lost", lost());
  line(out, "duplicated", get(duplicated_));
  line(out, "with wrong bytes", get(wrong_));
  return out.str();
}

}  // namespace mserve::test
