// ContinuedTurn: "id;created;seed;max_tokens;prompt_tokens;fingerprint" and back.
#include "cachenode/api/continued_turn.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace hearth {

namespace {

template <typename T>
bool read_number(std::string_view text, T& out) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, out);
    return parsed.ec == std::errc{} && parsed.ptr == end;
}

}  // namespace

std::string to_text(const ContinuedTurn& turn) {
    std::string out = turn.id;
    for (const std::string& part :
         {std::to_string(turn.created), std::to_string(turn.seed), std::to_string(turn.max_tokens),
          std::to_string(turn.prompt_tokens), turn.fingerprint})
        out += ';' + part;
    return out;
}

std::optional<ContinuedTurn> continued_turn_from(std::string_view text) {
    std::array<std::string_view, 6> parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::size_t end = std::min(text.find(';'), text.size());
        const bool is_last = i + 1 == parts.size();
        if (is_last != (end == text.size())) return std::nullopt;
        parts[i] = text.substr(0, end);
        text.remove_prefix(is_last ? end : end + 1);
    }
    ContinuedTurn turn;
    turn.id = parts[0];
    turn.fingerprint = parts[5];
    const bool ok = read_number(parts[1], turn.created) && read_number(parts[2], turn.seed) &&
                    read_number(parts[3], turn.max_tokens) &&
                    read_number(parts[4], turn.prompt_tokens);
    if (!ok || turn.max_tokens <= 0) return std::nullopt;
    return turn;
}

void append_tokens(std::string& out, const std::vector<engine::TokenId>& tokens) {
    for (const engine::TokenId id : tokens) {
        out += ' ';
        out += std::to_string(id);
    }
}

std::optional<std::vector<engine::TokenId>> tokens_from(std::string_view text) {
    std::vector<engine::TokenId> tokens;
    while (!text.empty()) {
        if (text.front() != ' ') return std::nullopt;
        text.remove_prefix(1);
        const std::string_view digits = text.substr(0, text.find(' '));
        engine::TokenId id = 0;
        if (digits.starts_with('-') || !read_number(digits, id)) return std::nullopt;
        tokens.push_back(id);
        text.remove_prefix(digits.size());
    }
    return tokens;
}

}  // namespace hearth
