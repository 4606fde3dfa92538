// Builds and reads the vocabularies that the tests of engine/text use.
#include "tests/engine/text/vocabularies.h"

#include <filesystem>

namespace hearth::engine {
namespace {

void append_rune(std::string& text, unsigned rune) {
    if (rune < 0x80) {
        text.push_back(static_cast<char>(rune));
    } else {
        text.push_back(static_cast<char>(0xC0 | (rune >> 6)));
        text.push_back(static_cast<char>(0x80 | (rune & 0x3F)));
    }
}

}  // namespace

std::string printable(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        // Bytes below 33, 127 to 160 and 173 are numbered from U+0100 in that order.
        if (byte < 33) {
            append_rune(text, 256u + byte);
        } else if (byte >= 127 && byte <= 160) {
            append_rune(text, 256u + 33u + (byte - 127u));
        } else if (byte == 173) {
            append_rune(text, 256u + 33u + 34u);
        } else {
            append_rune(text, byte);
        }
    }
    return text;
}

TokenId add_token(VocabularySpec& spec, const std::string& token, TokenType type, float score) {
    spec.tokens.push_back(token);
    spec.types.push_back(type);
    if (spec.kind == VocabularyKind::kSentencePiece) spec.scores.push_back(score);
    return static_cast<TokenId>(spec.tokens.size()) - 1;
}

VocabularySpec byte_vocabulary(const std::vector<std::pair<std::string, std::string>>& merges) {
    VocabularySpec spec;
    spec.kind = VocabularyKind::kByteLevelBpe;
    spec.pre_tokenizer = "gpt-2";
    for (int byte = 0; byte < 256; ++byte) {
        add_token(spec, printable(std::string(1, static_cast<char>(byte))), TokenType::kNormal);
    }
    spec.bos = add_token(spec, "<s>", TokenType::kControl);
    spec.eos = add_token(spec, "</s>", TokenType::kControl);
    for (const char* name :
         {"<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}) {
        add_token(spec, name, TokenType::kControl);
    }
    for (const auto& [left, right] : merges) {
        spec.merges.emplace_back(printable(left), printable(right));
        add_token(spec, printable(left + right), TokenType::kNormal);
    }
    return spec;
}

VocabularySpec sentencepiece_vocabulary() {
    VocabularySpec spec;
    spec.kind = VocabularyKind::kSentencePiece;
    spec.pre_tokenizer = "default";
    spec.unknown = add_token(spec, "<unk>", TokenType::kUnknown);
    spec.bos = add_token(spec, "<s>", TokenType::kControl);
    spec.eos = add_token(spec, "</s>", TokenType::kControl);
    constexpr char kHex[] = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; ++byte) {
        const std::string digits = {kHex[byte >> 4], kHex[byte & 15]};
        add_token(spec, "<0x" + digits + ">", TokenType::kByte);
    }
    const std::string space = "\xE2\x96\x81";
    add_token(spec, space, TokenType::kNormal, -100);
    for (char c = '!'; c <= '~'; ++c) add_token(spec, std::string(1, c), TokenType::kNormal, -100);
    float score = -1;
    for (const std::string piece :
         {"he", "ll", "hell", "hello", "or", "wor", "ld", "world", "[/"}) {
        add_token(spec, piece, TokenType::kNormal, score--);
    }
    add_token(spec, space + "hello", TokenType::kNormal, score--);
    add_token(spec, space + "w", TokenType::kNormal, score--);
    add_token(spec, space + "world", TokenType::kNormal, score--);
    add_token(spec, space + space, TokenType::kNormal, score--);
    spec.add_bos = true;
    return spec;
}

std::unique_ptr<Tokenizer> tokenizer_of(const VocabularySpec& spec) {
    auto made = Tokenizer::make(spec);
    CHECK_MSG(made.ok(), made.ok() ? std::string() : made.error().message);
    return std::move(*made);
}

std::string suite_file(const std::string& name) {
    const std::string path = std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/" + name;
    return std::filesystem::exists(path) ? path : std::string();
}

Result<VocabularySpec> suite_vocabulary(const std::string& name) {
    auto mapped = MappedFile::open(suite_file("tokenizers/ggml-vocab-" + name + ".gguf"));
    if (!mapped) return mapped.error();
    auto file = GgufFile::parse(mapped->bytes(), name);
    if (!file) return file.error();
    return read_gguf_vocabulary(*file);
}

std::vector<TokenId> ids_of(const Tokenizer& tokenizer, std::string_view text,
                            Tokenizer::Special special) {
    std::vector<TokenId> ids;
    tokenizer.encode(text, special, ids);
    return ids;
}

std::string text_of(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                    bool keep_special) {
    std::string text;
    for (const TokenId id : ids) text += tokenizer.decode(id, keep_special);
    return text;
}

}  // namespace hearth::engine
