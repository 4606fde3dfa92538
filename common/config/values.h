// Texts to values for configuration: numbers with limits, sizes with units, durations. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

Result<bool> parse_bool(std::string_view text);  // true/false, yes/no, on/off, 1/0
Result<std::int64_t> parse_integer(std::string_view text);
Result<double> parse_number(std::string_view text);             // Finite.
Result<std::int64_t> parse_bytes(std::string_view text);        // 4096, 512KiB, 64MiB, 2GiB, 1TiB
Result<std::int64_t> parse_duration_ms(std::string_view text);  // 250 (ms), 250ms, 2s, 5m, 1h

std::string format_bytes(std::int64_t bytes);     // "512MiB" when it divides evenly.
std::string format_duration_ms(std::int64_t ms);  // "250ms", "2s"

// The name among `names` that is closest to `wrong` (at most two edits), or "".
template <typename Names>
std::string_view closest(std::string_view wrong, const Names& names);

// Levenshtein distance.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <typename Names>
std::string_view closest(std::string_view wrong, const Names& names) {
    std::string_view best;
    std::size_t best_distance = 3;
    for (const auto& name : names) {
        const std::size_t distance = edit_distance(wrong, name);
        if (distance < best_distance) {
            best_distance = distance;
            best = name;
        }
    }
    return best;
}

}  // namespace hearth
