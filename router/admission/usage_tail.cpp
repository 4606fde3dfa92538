// Finds `usage` from the end, and the number behind `total_tokens` in it.
#include "router/admission/usage_tail.h"

#include <charconv>

namespace hearth {
namespace {

constexpr std::int64_t kTokensMax = 1'000'000'000;

// What follows `name` and its colon in `text` from `at` on; nothing if it is no member's name.
std::optional<std::string_view> value_after(std::string_view text, std::size_t at,
                                            std::string_view name) {
    text.remove_prefix(at + name.size());
    const auto skip_space = [&text] {
        const std::size_t end = std::min(text.find_first_not_of(" \t\r\n"), text.size());
        text.remove_prefix(end);
    };
    skip_space();
    if (!text.starts_with(':')) return std::nullopt;
    text.remove_prefix(1);
    skip_space();
    return text;
}

}  // namespace

void UsageTail::take(std::string_view piece) {
    if (piece.size() > kTailBytes) piece.remove_prefix(piece.size() - kTailBytes);
    if (tail_.size() + piece.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    tail_.append(piece);
}

std::optional<std::int64_t> UsageTail::total_tokens() const {
    constexpr std::string_view kUsage = "\"usage\"";
    constexpr std::string_view kTotal = "\"total_tokens\"";
    const std::string_view text = tail_;
    for (std::size_t at = text.rfind(kUsage); at != std::string_view::npos;
         at = at == 0 ? std::string_view::npos : text.rfind(kUsage, at - 1)) {
        const auto usage = value_after(text, at, kUsage);
        if (!usage || !usage->starts_with('{')) continue;
        const std::size_t total = usage->find(kTotal);
        if (total == std::string_view::npos) return std::nullopt;
        const auto number = value_after(*usage, total, kTotal);
        std::int64_t value = -1;
        if (number) std::from_chars(number->data(), number->data() + number->size(), value);
        if (value < 0 || value > kTokensMax) return std::nullopt;
        return value;
    }
    return std::nullopt;
}

}  // namespace hearth
