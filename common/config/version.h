// The version of this build, for --version and hearth_build_info.
#pragma once

#include <string>

namespace hearth {

std::string version();   // "0.1.0"
std::string revision();  // Git revision of the tree, or "unknown".

}  // namespace hearth
