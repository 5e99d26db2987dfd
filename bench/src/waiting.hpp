// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace mserve::bench {

/// Looks every millisecond whether it is so, and returns once it is, or at Ctrl-C. Throws
/// std::runtime_error with what `fault` then says when it takes longer than `most`.
void wait_for(std::chrono::seconds most, const std::function<bool()>& is_so,
              const std::function<std::string()>& fault);

/// What a server on 127.0.0.1 answers to GET, its heading included; empty when it does not, within
/// five seconds.
[[nodiscard]] std::string http_get(const std::string& port, const std::string& path);

}  // namespace mserve::bench
