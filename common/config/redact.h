// Settings without their secrets, for what is handed to others.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"

namespace hearth {

// "session_secret", "keys", "upstream_api_key"; not "session_secret_file", "tls_key" (a path),
// "tokens_per_minute".
bool names_a_secret(const std::string& setting);

struct CleanSettings {
    std::string text;                       // YAML again; comments are gone, as they may hold any.
    std::vector<std::string> secrets;       // The values that were taken out.
    std::vector<std::string> secret_files;  // Paths of files that hold others.
};
// Of any YAML text. kInvalidArgument: it is none, so nobody knows what in it is a secret.
Result<CleanSettings> without_secrets(const std::string& yaml);

}  // namespace hearth
