// Reload: the settings read again while the router serves; a bad file changes nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/config/options.h"
#include "router/config.h"

namespace hearth {

struct LoadedConfig {
    RouterConfig config;
    std::vector<Options::Setting> settings;  // For people: secrets are not in it.
    std::string log_level;
    std::string fingerprint;  // 16 hex digits over all values.
};

// Reads the sources that the program was started with: file, environment, flags. Blocks for the
// file.
using ConfigSource = std::function<Result<LoadedConfig>()>;
ConfigSource config_source(int argc, const char* const* argv);

struct ReloadReport {
    std::vector<std::string> changed;        // Settings with another value than before.
    std::vector<std::string> needs_restart;  // Those of them that are read at the start only.
};
// What a change from one to the other means. Pure.
ReloadReport compare(const LoadedConfig& before, const LoadedConfig& after);

}  // namespace hearth
