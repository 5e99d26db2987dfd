// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mserve::tool {

/// `mserve-client passwd USER`: reads a password and prints the line of a users file that
/// mserve-broker --users takes. @param argc, argv  without the program's name: "passwd", ...
/// @return the exit code.
[[nodiscard]] int run_passwd(int argc, char** argv);

}  // namespace mserve::tool
