// SHA-256 of a file, to verify what was downloaded.
#pragma once

#include <string>

#include "common/base/result.h"

namespace hearth {

// 64 lower-case hex digits. Blocking: reads the whole file. kNotFound when it cannot be read.
Result<std::string> sha256_of_file(const std::string& path);

}  // namespace hearth
