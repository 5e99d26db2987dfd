// SPDX-License-Identifier: Apache-2.0
// The boundary between this library, which throws nothing, and users' functions, which may.
#pragma once

#include <exception>
#include <new>
#include <string>

namespace mserve::servant {

/// Runs `work`. @return empty when it returned, else the text of the error that it ended with.
template <class Work>
[[nodiscard]] std::string guarded(Work&& work) {
  try {
    work();
    return {};
  } catch (const std::bad_alloc&) {
    return "wsfull";  // q's word for it
  } catch (const std::exception& e) {
    const std::string text = e.what();
    return text.empty() ? "internal" : text;
  } catch (...) {
    return "internal";
  }
}

}  // namespace mserve::servant
