// SPDX-License-Identifier: Apache-2.0
#include "status.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace mserve::capi {
namespace {

/// A new Errc does not compile before it stands here and in mserve.h.
constexpr mserve_status status_of(Errc code) {
  switch (code) {
    case Errc::ok:
      return MSERVE_OK;
    case Errc::full:
      return MSERVE_FULL;
    case Errc::empty:
      return MSERVE_EMPTY;
    case Errc::timed_out:
      return MSERVE_TIMED_OUT;
    case Errc::too_large:
      return MSERVE_TOO_LARGE;
    case Errc::disconnected:
      return MSERVE_DISCONNECTED;
    case Errc::not_attached:
      return MSERVE_NOT_ATTACHED;
    case Errc::invalid:
      return MSERVE_INVALID;
    case Errc::os:
      return MSERVE_OS;
    case Errc::no_broker:
      return MSERVE_NO_BROKER;
    case Errc::access:
      return MSERVE_ACCESS;
    case Errc::no_memory:
      return MSERVE_NO_MEMORY;
    case Errc::in_use:
      return MSERVE_IN_USE;
    case Errc::unsafe_directory:
      return MSERVE_UNSAFE_DIRECTORY;
    case Errc::protocol:
      return MSERVE_PROTOCOL;
    case Errc::version_mismatch:
      return MSERVE_VERSION_MISMATCH;
    case Errc::cursor_out_of_range:
      return MSERVE_CURSOR_OUT_OF_RANGE;
    case Errc::bad_frame:
      return MSERVE_BAD_FRAME;
    case Errc::bad_segment:
      return MSERVE_BAD_SEGMENT;
    case Errc::poisoned:
      return MSERVE_POISONED;
    case Errc::busy:
      return MSERVE_BUSY;
    case Errc::no_servant:
      return MSERVE_NO_SERVANT;
    case Errc::servant_died:
      return MSERVE_SERVANT_DIED;
    case Errc::shutdown:
      return MSERVE_SHUTDOWN;
    case Errc::cancelled:
      return MSERVE_CANCELLED;
    case Errc::stalled:
      return MSERVE_STALLED;
    case Errc::failed:
      return MSERVE_FAILED;
    case Errc::slow_reader:
      return MSERVE_SLOW_READER;
    case Errc::internal:
      return MSERVE_INTERNAL;
    case Errc::queue_timeout:
      return MSERVE_QUEUE_TIMEOUT;
    case Errc::retired:
      return MSERVE_RETIRED;
  }
  return -1;
}

constexpr bool numbers_agree() {
  for (std::uint16_t n = 0; n < 1000; ++n) {
    const mserve_status status = status_of(static_cast<Errc>(n));
    if (status != -1 && status != n) {
      return false;
    }
  }
  return true;
}
static_assert(numbers_agree(), "the numbers of both sides are the same");

/// No destructor and no memory of its own: valid in any thread, for as long as that lives.
thread_local std::array<char, 1024> last_error_text{};

/// Collects text, cut where there is no more room.
class Text {
 public:
  explicit Text(std::array<char, 1024>& out) noexcept : out_(out) {}
  Text& operator<<(std::string_view part) noexcept {
    const std::size_t bytes = std::min(part.size(), out_.size() - 1 - used_);
    std::copy_n(part.data(), bytes, out_.data() + used_);
    used_ += bytes;
    out_[used_] = '\0';
    return *this;
  }

 private:
  std::array<char, 1024>& out_;
  std::size_t used_ = 0;
};

bool is_outcome(Errc code) noexcept {
  return code == Errc::ok || code == Errc::full || code == Errc::empty || code == Errc::timed_out;
}

Errc code_of(mserve_status status) noexcept {
  return static_cast<Errc>(static_cast<std::uint16_t>(status));
}

}  // namespace

mserve_status report(Errc code, std::string_view text) noexcept {
  if (!is_outcome(code)) {
    Text out(last_error_text);
    out << to_string(code);
    if (!text.empty()) {
      out << ": " << text;
    }
  }
  return static_cast<mserve_status>(code);
}

mserve_status report(const Error& error, std::string_view reason) noexcept {
  if (!reason.empty()) {
    return report(error.code, reason);
  }
  if (error.os_errno == 0) {
    return report(error.code, error.where);
  }
  std::array<char, 1024> words{};
  Text text(words);
  std::array<char, 128> buffer{};
  text << error.where << ": " << strerror_r(error.os_errno, buffer.data(), buffer.size());
  return report(error.code, words.data());
}

}  // namespace mserve::capi

using namespace mserve;

uint32_t mserve_abi_version() noexcept {
  return (MSERVE_ABI_MAJOR << 16) | MSERVE_ABI_MINOR;
}

const char* mserve_version() noexcept {
  return MSERVE_CAPI_VERSION;
}

const char* mserve_status_name(mserve_status status) noexcept {
  return status < 0 || status > UINT16_MAX ? "unknown error" : to_string(capi::code_of(status));
}

const char* mserve_status_advice(mserve_status status) noexcept {
  return advice(status < 0 || status > UINT16_MAX ? Errc::internal : capi::code_of(status));
}

const char* mserve_last_error() noexcept {
  return capi::last_error_text.data();
}
