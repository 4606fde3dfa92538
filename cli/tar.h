// A tar archive in memory: POSIX ustar, regular files only. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::cli {

struct TarEntry {
    std::string name;  // At most 100 bytes; relative.
    std::string content;
};
// All of the archive's bytes; files belong to nobody in particular and are readable by the owner.
std::string tar_of(const std::vector<TarEntry>& entries, std::int64_t unix_seconds);

}  // namespace hearth::cli
