// Parses and prints the values of settings.
#include "common/config/values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace hearth {
namespace {

using Unit = std::pair<std::string_view, std::int64_t>;

// Longest suffixes first, so that "ms" is not read as "s".
constexpr Unit kByteUnits[] = {
    {"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}, {"TiB", 1LL << 40}, {"B", 1}};
constexpr Unit kTimeUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};

Error bad(std::string_view text, const char* wanted) {
    return make_error(ErrorCode::kInvalidArgument,
                      "'" + std::string(text) + "' is not " + std::string(wanted));
}

template <std::size_t N>
Result<std::int64_t> parse_with_unit(std::string_view text, const Unit (&units)[N],
                                     const char* wanted) {
    std::int64_t factor = 1;
    std::string_view digits = text;
    for (const auto& [suffix, value] : units)
        if (digits.size() > suffix.size() && digits.ends_with(suffix)) {
            factor = value;
            digits.remove_suffix(suffix.size());
            break;
        }
    const auto number = parse_integer(digits);
    if (!number || *number < 0) return bad(text, wanted);
    if (*number > std::numeric_limits<std::int64_t>::max() / factor)
        return make_error(ErrorCode::kTooLarge, "'" + std::string(text) + "' is too large");
    return *number * factor;
}

}  // namespace

Result<bool> parse_bool(std::string_view text) {
    for (const std::string_view yes : {"true", "yes", "on", "1"})
        if (text == yes) return true;
    for (const std::string_view no : {"false", "no", "off", "0"})
        if (text == no) return false;
    return bad(text, "true or false");
}

Result<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || failed != std::errc() || stop != text.data() + text.size())
        return bad(text, "a whole number");
    return value;
}

Result<double> parse_number(std::string_view text) {
    double value = 0;
    const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || failed != std::errc() || stop != text.data() + text.size() ||
        !std::isfinite(value))
        return bad(text, "a number");
    return value;
}

Result<std::int64_t> parse_bytes(std::string_view text) {
    return parse_with_unit(text, kByteUnits, "a size such as 512MiB or 2GiB");
}

Result<std::int64_t> parse_duration_ms(std::string_view text) {
    return parse_with_unit(text, kTimeUnits, "a duration such as 250ms, 2s or 5m");
}

std::string format_bytes(std::int64_t bytes) {
    for (const auto& [suffix, value] : {kByteUnits[3], kByteUnits[2], kByteUnits[1], kByteUnits[0]})
        if (bytes >= value && bytes % value == 0)
            return std::to_string(bytes / value) + std::string(suffix);
    return std::to_string(bytes);
}

std::string format_duration_ms(std::int64_t ms) {
    for (const auto& [suffix, value] : {kTimeUnits[3], kTimeUnits[2], kTimeUnits[1]})
        if (ms >= value && ms % value == 0) return std::to_string(ms / value) + std::string(suffix);
    return std::to_string(ms) + "ms";
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({above + 1, row[j - 1] + 1, change});
            diagonal = above;
        }
    }
    return row[b.size()];
}

}  // namespace hearth
