// environment: the one place that reads environment variables outside Options.
#pragma once

#include <string>

namespace hearth {

// The variable's value, or "" when it is not set. Not safe beside setenv.
std::string environment(const char* name);

// Folder for downloaded models: $HEARTH_CACHE_FOLDER, else $XDG_CACHE_HOME/hearth, else
// $HOME/.cache/hearth; "" when none of them is set (the latter two count if absolute).
// ($HEARTH_CACHE is the cache node's setting `cache`.)
std::string cache_folder();

}  // namespace hearth
