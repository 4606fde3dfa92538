// process_*: the usual metrics of a process, which prometheus-cpp does not export.
#pragma once

#include <string>

namespace hearth {

// Text format 0.0.4, from /proc/self; a file that cannot be read leaves its lines out.
std::string process_metrics();

}  // namespace hearth
