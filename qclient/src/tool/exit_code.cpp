// SPDX-License-Identifier: Apache-2.0
#include "tool/exit_code.hpp"

namespace mserve::tool {

ExitCode exit_code_of(Errc code) noexcept {
  switch (code) {
    case Errc::failed:
      return ExitCode::error;
    case Errc::too_large:
    case Errc::invalid:
      return ExitCode::usage;
    case Errc::timed_out:
    case Errc::queue_timeout:
      return ExitCode::timed_out;
    case Errc::busy:
    case Errc::no_servant:
    case Errc::servant_died:
    case Errc::shutdown:
    case Errc::cancelled:
    case Errc::stalled:
    case Errc::slow_reader:
    case Errc::internal:
      return ExitCode::refused;
    default:
      return ExitCode::no_broker;
  }
}

}  // namespace mserve::tool
