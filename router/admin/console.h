// The console: one page that shows the admin API to people; no build step, nothing from elsewhere.
#pragma once

#include <string_view>

namespace hearth {

std::string_view console_page();  // HTML, with its styles and script inside.

}  // namespace hearth
