// Look-ups that do not depend on how a tokenizer merges.
#include "engine/text/vocabulary_table.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace hearth::engine {
VocabularyTable::VocabularyTable(const VocabularySpec& spec) : spec_(spec) {
    by_text_.reserve(spec_.tokens.size());
    for (std::size_t id = 0; id < spec_.tokens.size(); ++id) {
        by_text_.emplace(spec_.tokens[id], static_cast<TokenId>(id));  // The first of equals wins.
    }
    index_special_tokens();
    mark_reply_ends();
}

Result<void> VocabularyTable::check(const VocabularySpec& spec) {
    const auto corrupt = [](const std::string& what) {
        return make_error(ErrorCode::kCorrupt, "vocabulary: " + what);
    };
    const std::size_t count = spec.tokens.size();
    if (count == 0) return corrupt("no tokens");
    if (spec.types.size() != count) {
        return corrupt(std::to_string(spec.types.size()) + " token types for " +
                       std::to_string(count) + " tokens");
    }
    if (spec.kind == VocabularyKind::kSentencePiece && spec.scores.size() != count) {
        return corrupt(std::to_string(spec.scores.size()) + " scores for " + std::to_string(count) +
                       " tokens");
    }
    for (std::size_t id = 0; id < spec.scores.size(); ++id) {
        if (!std::isfinite(spec.scores[id])) return corrupt("score of token " + std::to_string(id));
    }
    const auto in_range = [count](TokenId id) {
        return id >= -1 && id < static_cast<std::int64_t>(count);
    };
    const std::pair<const char*, TokenId> named[] = {
        {"bos", spec.bos}, {"eos", spec.eos}, {"unknown", spec.unknown}};
    for (const auto& [name, id] : named) {
        if (!in_range(id)) return corrupt(std::string(name) + " id " + std::to_string(id));
    }
    for (const TokenId id : spec.end_of_turn) {
        if (!in_range(id)) return corrupt("end_of_turn id " + std::to_string(id));
    }
    return {};
}

void VocabularyTable::index_special_tokens() {
    for (std::size_t id = 0; id < spec_.tokens.size(); ++id) {
        const TokenType kind = spec_.types[id];
        const std::string& text = spec_.tokens[id];
        const bool special = kind == TokenType::kControl || kind == TokenType::kUnknown ||
                             kind == TokenType::kUserDefined;
        if (!special || text.empty()) continue;
        if (!specials_.emplace(text, static_cast<TokenId>(id)).second) continue;
        special_lengths_[static_cast<std::uint8_t>(text[0])].push_back(text.size());
    }
    for (auto& lengths : special_lengths_) {
        std::sort(lengths.begin(), lengths.end(), std::greater<>());
        lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
    }
}

void VocabularyTable::mark_reply_ends() {
    ends_reply_.resize(spec_.tokens.size());
    const auto mark = [this](TokenId id) {
        if (id >= 0) ends_reply_[static_cast<std::size_t>(id)] = true;
    };
    mark(spec_.eos);
    for (const TokenId id : spec_.end_of_turn) mark(id);
}

std::string VocabularyTable::decode(TokenId id, bool keep_special) const {
    if (id < 0 || id >= size()) return {};
    if (is_special(id) && !keep_special) return {};
    return bytes_[static_cast<std::size_t>(id)];
}

bool VocabularyTable::ends_reply(TokenId id) const {
    return id >= 0 && id < size() && ends_reply_[static_cast<std::size_t>(id)];
}

TokenId VocabularyTable::find(std::string_view token) const {
    const auto it = by_text_.find(token);
    return it == by_text_.end() ? -1 : it->second;
}

VocabularyTable::Match VocabularyTable::next_special(std::string_view text, std::size_t from,
                                                     Special special) const {
    for (std::size_t at = from; at < text.size(); ++at) {
        for (const std::size_t length : special_lengths_[static_cast<std::uint8_t>(text[at])]) {
            if (length > text.size() - at) continue;
            const auto it = specials_.find(text.substr(at, length));
            if (it == specials_.end()) continue;
            if (special == Special::kPlain && is_special(it->second)) continue;
            return {at, length, it->second};
        }
    }
    return {text.size(), 0, -1};
}

void VocabularyTable::encode_fragments(std::string_view text, Special special, bool first,
                                       std::vector<TokenId>& out) const {
    std::size_t at = 0;
    while (at < text.size()) {
        const Match match = next_special(text, at, special);
        if (match.begin > at) encode_text(text.substr(at, match.begin - at), first, out);
        if (match.id >= 0) out.push_back(match.id);
        first = true;
        at = match.begin + match.length;
    }
}

}  // namespace hearth::engine
