// SentencePiece-style tokenising: best-scored neighbours merge first, leftmost among equals.
#include "engine/text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "engine/text/merge_queue.h"
#include "engine/text/utf8.h"

namespace hearth::engine {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

std::string with_plain_spaces(std::string_view token) {
    std::string text;
    while (!token.empty()) {
        const bool space = token.starts_with(kSpace);
        text.push_back(space ? ' ' : token[0]);
        token.remove_prefix(space ? kSpace.size() : 1);
    }
    return text;
}

// The byte of a token written <0xNN>; -1 if it is not written so.
int byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
    unsigned value = 0;
    const char* end = token.data() + 5;
    const auto [rest, failure] = std::from_chars(token.data() + 3, end, value, 16);
    return failure == std::errc() && rest == end ? static_cast<int>(value) : -1;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::make(const VocabularySpec& spec) {
    if (auto ok = check(spec); !ok) return ok.error();
    for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
        if (spec.types[id] == TokenType::kByte && byte_of(spec.tokens[id]) < 0) {
            return make_error(ErrorCode::kCorrupt, "vocabulary: byte token " + std::to_string(id) +
                                                       " (\"" + spec.tokens[id] +
                                                       "\") is not <0xNN>");
        }
    }
    return std::unique_ptr<Tokenizer>(new SentencePieceTokenizer(spec));
}

SentencePieceTokenizer::SentencePieceTokenizer(const VocabularySpec& given)
    : VocabularyTable(given) {
    byte_ids_.fill(-1);
    bytes_.resize(spec().tokens.size());
    for (std::size_t index = 0; index < bytes_.size(); ++index) {
        const auto id = static_cast<TokenId>(index);
        const std::string& token = spec().tokens[index];
        switch (type(id)) {
            case TokenType::kByte: {
                const int byte = byte_of(token);
                bytes_[index].assign(1, static_cast<char>(byte));
                byte_ids_[static_cast<std::size_t>(byte)] = id;
                break;
            }
            case TokenType::kControl:
            case TokenType::kUnknown: bytes_[index] = token; break;
            case TokenType::kUserDefined:
            case TokenType::kNormal:
            case TokenType::kUnused:
                bytes_[index] = with_plain_spaces(token);
                pieces_.emplace(token, id);
                longest_ = std::max(longest_, token.size());
                break;
        }
    }
}

TokenId SentencePieceTokenizer::piece(std::string_view text) const {
    if (text.size() > longest_) return -1;
    const auto it = pieces_.find(text);
    return it == pieces_.end() ? -1 : it->second;
}

void SentencePieceTokenizer::encode_text(std::string_view text, bool first,
                                         std::vector<TokenId>& out) const {
    std::string escaped;
    escaped.reserve(text.size() + kSpace.size());
    if (first && spec().add_space_prefix) escaped += kSpace;
    for (const char c : text) {
        if (c == ' ') {
            escaped += kSpace;
        } else {
            escaped.push_back(c);
        }
    }
    const std::string_view all = escaped;
    std::vector<Symbol> symbols;
    for (std::size_t at = 0; at < all.size();) {
        const Utf8Step step = next_rune(all.substr(at));
        const std::size_t length = step.kind == Utf8Step::Kind::kRune ? step.length : 1;
        Symbol symbol;
        symbol.id = piece(all.substr(at, length));
        symbol.begin = static_cast<std::uint32_t>(at);
        symbol.length = static_cast<std::uint32_t>(length);
        symbols.push_back(symbol);
        at += length;
    }
    const auto find_merge = [&](const Symbol& a, const Symbol& b, MergeCandidate<float>& c) {
        c.merged = piece(all.substr(a.begin, a.length + b.length));
        if (c.merged < 0) return false;
        c.priority = -spec().scores[static_cast<std::size_t>(c.merged)];
        return true;
    };
    std::vector<MergeCandidate<float>> heap;
    merge_symbols(symbols, heap, find_merge);
    for (const Symbol& symbol : symbols) {
        if (symbol.length == 0) continue;
        if (symbol.id >= 0) {
            out.push_back(symbol.id);
            continue;
        }
        for (const char c : all.substr(symbol.begin, symbol.length)) {
            const TokenId byte = byte_ids_[static_cast<std::uint8_t>(c)];
            const TokenId id = byte >= 0 ? byte : spec().unknown;
            if (id >= 0) out.push_back(id);
        }
    }
}

}  // namespace hearth::engine
