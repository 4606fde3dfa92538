// Byte-level BPE: tables from the model file, merging over ids.
#include "engine/text/bpe_tokenizer.h"

#include <optional>
#include <string>

#include "engine/text/normalize.h"
#include "engine/text/utf8.h"

namespace hearth::engine {
namespace {

// GPT-2's bijection of bytes to printable runes: printable Latin-1 stands for itself, the other
// 68 bytes follow from U+0100 on, in order.
struct ByteRunes {
    std::array<std::string, 256> of_byte;
    std::unordered_map<char32_t, std::uint8_t> of_rune;

    ByteRunes() {
        char32_t spare = 0x100;
        for (unsigned byte = 0; byte < 256; ++byte) {
            const bool printable =
                (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            const char32_t rune = printable ? byte : spare++;
            of_rune.emplace(rune, static_cast<std::uint8_t>(byte));
            std::string& text = of_byte[byte];
            if (rune < 0x80) {
                text.push_back(static_cast<char>(rune));
            } else {
                text.push_back(static_cast<char>(0xC0 | (rune >> 6)));
                text.push_back(static_cast<char>(0x80 | (rune & 0x3F)));
            }
        }
    }
};

const ByteRunes& byte_runes() {
    static const ByteRunes runes;
    return runes;
}

// The bytes that a token's printable runes stand for; nothing if it holds any other rune.
std::optional<std::string> raw_bytes(std::string_view token) {
    std::string bytes;
    while (!token.empty()) {
        const Utf8Step step = next_rune(token);
        if (step.kind != Utf8Step::Kind::kRune) return std::nullopt;
        const auto it = byte_runes().of_rune.find(step.rune);
        if (it == byte_runes().of_rune.end()) return std::nullopt;
        bytes.push_back(static_cast<char>(it->second));
        token.remove_prefix(step.length);
    }
    return bytes;
}

std::uint64_t pair_key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::make(const VocabularySpec& spec) {
    if (auto ok = check(spec); !ok) return ok.error();
    auto pre_tokenizer = PreTokenizer::make(spec);
    if (!pre_tokenizer) return pre_tokenizer.error();
    std::unique_ptr<BpeTokenizer> made(new BpeTokenizer(spec, std::move(*pre_tokenizer)));
    if (auto ok = made->index_merges(); !ok) return ok.error();
    return std::unique_ptr<Tokenizer>(std::move(made));
}

BpeTokenizer::BpeTokenizer(const VocabularySpec& spec, PreTokenizer pre_tokenizer)
    : VocabularyTable(spec), pre_tokenizer_(std::move(pre_tokenizer)) {
    bytes_.resize(spec.tokens.size());
    for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
        const bool mapped =
            spec.types[id] != TokenType::kUserDefined && !is_special(static_cast<TokenId>(id));
        // A normal token outside the byte runes (some files carry a few) is its own text.
        auto bytes = mapped ? raw_bytes(spec.tokens[id]) : std::nullopt;
        bytes_[id] = bytes ? std::move(*bytes) : spec.tokens[id];
    }
    for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
        byte_ids_[byte] = find(byte_runes().of_byte[byte]);
    }
    if (!spec.ignore_merges) return;
    for (std::size_t id = 0; id < bytes_.size(); ++id) {
        if (spec.types[id] == TokenType::kNormal) {
            words_.emplace(bytes_[id], static_cast<TokenId>(id));
        }
    }
}

Result<void> BpeTokenizer::index_merges() {
    merges_.reserve(spec().merges.size());
    std::string joined;
    for (std::size_t rank = 0; rank < spec().merges.size(); ++rank) {
        const auto& [left, right] = spec().merges[rank];
        joined = left;
        joined += right;
        const TokenId left_id = find(left), right_id = find(right), merged = find(joined);
        if (left_id < 0 || right_id < 0 || merged < 0) {
            return make_error(ErrorCode::kCorrupt, "vocabulary: merge " + std::to_string(rank) +
                                                       " (\"" + left + "\" \"" + right +
                                                       "\") names a token that is not there");
        }
        if (is_special(merged)) continue;  // Text must never become a control token.
        merges_.emplace(pair_key(left_id, right_id),
                        Merge{static_cast<std::uint32_t>(rank), merged});
    }
    return {};
}

void BpeTokenizer::encode_text(std::string_view text, bool, std::vector<TokenId>& out) const {
    std::string composed;
    if (spec().nfc) text = composed = nfc(text);
    std::vector<std::uint32_t> ends;
    pre_tokenizer_.split(text, ends);
    Scratch scratch;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : ends) {
        encode_word(text.substr(begin, end - begin), scratch, out);
        begin = end;
    }
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch,
                               std::vector<TokenId>& out) const {
    if (spec().ignore_merges) {
        if (const auto it = words_.find(word); it != words_.end()) {
            out.push_back(it->second);
            return;
        }
    }
    scratch.symbols.clear();
    for (std::uint32_t i = 0; i < word.size(); ++i) {
        Symbol symbol;
        symbol.id = byte_ids_[static_cast<std::uint8_t>(word[i])];
        if (symbol.id < 0) continue;  // As the reference: what stood around it may merge.
        symbol.begin = i;
        symbol.length = 1;
        scratch.symbols.push_back(symbol);
    }
    const auto find_merge = [this](const Symbol& a, const Symbol& b,
                                   MergeCandidate<std::uint32_t>& c) {
        const auto it = merges_.find(pair_key(a.id, b.id));
        if (it == merges_.end()) return false;
        c.priority = it->second.rank;
        c.merged = it->second.merged;
        return true;
    };
    merge_symbols(scratch.symbols, scratch.heap, find_merge);
    for (const Symbol& symbol : scratch.symbols) {
        if (symbol.length > 0) out.push_back(symbol.id);
    }
}

}  // namespace hearth::engine
