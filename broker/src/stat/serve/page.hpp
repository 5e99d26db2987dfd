// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace mserve::stat {

// The files of stat/page, built in.
extern const std::string_view kPageHtml;  ///< With @STYLE@, @SCRIPT@ and @NONCE@ to be replaced.
extern const std::string_view kPageStyle;
extern const std::string_view kPageScript;

}  // namespace mserve::stat
