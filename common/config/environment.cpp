// Environment variables, and the folder that follows from them.
#include "common/config/environment.h"

#include <cstdlib>

namespace hearth {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

std::string cache_folder() {
    if (const std::string own = environment("HEARTH_CACHE_FOLDER"); !own.empty()) return own;
    // A relative one is to be ignored (XDG Base Directory Specification).
    if (const std::string xdg = environment("XDG_CACHE_HOME"); xdg.starts_with('/'))
        return xdg + "/hearth";
    if (const std::string home = environment("HOME"); home.starts_with('/'))
        return home + "/.cache/hearth";
    return "";
}

}  // namespace hearth
