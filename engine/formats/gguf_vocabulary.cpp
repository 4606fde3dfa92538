// Reads a GGUF file's tokenizer.ggml.* keys into a VocabularySpec.
#include <cmath>
#include <utility>

#include "engine/formats/end_of_turn.h"
#include "engine/formats/fault.h"
#include "engine/formats/gguf_model.h"

namespace hearth::engine {

namespace {

const std::string kPrefix = "tokenizer.ggml.";

TokenType token_type(std::int32_t number, GgufFields& fields) {
    switch (number) {
        case 0:  // "Undefined": written by some converters for plain tokens.
        case 1: return TokenType::kNormal;
        case 2: return TokenType::kUnknown;
        case 3: return TokenType::kControl;
        case 4: return TokenType::kUserDefined;
        case 5: return TokenType::kUnused;
        case 6: return TokenType::kByte;
        default: break;
    }
    fields.fail(ErrorCode::kCorrupt,
                "key '" + kPrefix + "token_type' holds " + std::to_string(number));
    return TokenType::kNormal;
}

void read_tokens(GgufFields& fields, VocabularySpec& spec) {
    spec.tokens = fields.texts(kPrefix + "tokens");
    if (spec.tokens.empty())
        fields.fail(ErrorCode::kCorrupt, "key '" + kPrefix + "tokens' is missing or empty");
    const auto types = fields.integers(kPrefix + "token_type");
    if (!types.empty() && types.size() != spec.tokens.size())
        fields.fail(ErrorCode::kCorrupt, "key '" + kPrefix + "token_type' counts " +
                                             std::to_string(types.size()) + " tokens of " +
                                             std::to_string(spec.tokens.size()));
    spec.types.assign(spec.tokens.size(), TokenType::kNormal);
    for (std::size_t i = 0; i < types.size() && !fields.failed(); ++i)
        spec.types[i] = token_type(types[i], fields);
}

void read_scores(GgufFields& fields, VocabularySpec& spec) {
    spec.scores = fields.numbers(kPrefix + "scores");
    if (spec.scores.size() != spec.tokens.size())
        fields.fail(ErrorCode::kCorrupt, "key '" + kPrefix + "scores' counts " +
                                             std::to_string(spec.scores.size()) + " tokens of " +
                                             std::to_string(spec.tokens.size()));
    for (const float score : spec.scores)
        if (!std::isfinite(score))
            fields.fail(ErrorCode::kCorrupt, "key '" + kPrefix + "scores' is not finite");
}

// "left right". Neither side is empty, and a space inside a token is written as a mapped rune, so
// the first space after the first byte is the one between them.
void read_merges(GgufFields& fields, VocabularySpec& spec) {
    const std::string key = kPrefix + "merges";
    if (!fields.has(key)) fields.fail(ErrorCode::kCorrupt, "key '" + key + "' is missing");
    for (const std::string& merge : fields.texts(key)) {
        const auto space = merge.find(' ', 1);
        if (space == std::string::npos || space + 1 == merge.size()) {
            fields.fail(ErrorCode::kCorrupt, "key '" + key + "' holds " + in_quotes(merge));
            return;
        }
        spec.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
}

// Absent ids and flags are what the format's tokenizer kinds imply.
void read_specials(GgufFields& fields, VocabularySpec& spec) {
    const bool sentence_piece = spec.kind == VocabularyKind::kSentencePiece;
    const std::string& pre = spec.pre_tokenizer;
    const bool llama3 = pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
    spec.ignore_merges = llama3;
    spec.nfc = pre == "qwen2" || pre == "deepseek-r1-qwen";  // As their own tokenizer does.
    spec.bos = fields.token(kPrefix + "bos_token_id", sentence_piece ? 1 : -1);
    spec.eos = fields.token(kPrefix + "eos_token_id", sentence_piece ? 2 : -1);
    spec.unknown = fields.token(kPrefix + "unknown_token_id", sentence_piece ? 0 : -1);
    for (const char* key : {"eot_token_id", "eom_token_id"}) {
        const TokenId id = fields.token(kPrefix + key, -1);
        if (id >= 0) spec.end_of_turn.push_back(id);
    }
    spec.add_bos = fields.flag(kPrefix + "add_bos_token", sentence_piece || llama3);
    spec.add_space_prefix = fields.flag(kPrefix + "add_space_prefix", true);
    const auto size = static_cast<TokenId>(spec.tokens.size());
    for (const TokenId id : {spec.bos, spec.eos, spec.unknown})
        if (id >= size) fields.fail(ErrorCode::kCorrupt, "a special token's id is out of range");
    for (const TokenId id : spec.end_of_turn)
        if (id >= size) fields.fail(ErrorCode::kCorrupt, "a special token's id is out of range");
}

}  // namespace

Result<VocabularySpec> read_gguf_vocabulary(const GgufFile& file) {
    GgufFields fields(file);
    VocabularySpec spec;
    const std::string model = fields.text(kPrefix + "model", "");
    if (model == "gpt2") {
        spec.kind = VocabularyKind::kByteLevelBpe;
    } else if (model == "llama") {
        spec.kind = VocabularyKind::kSentencePiece;
    } else {
        fields.fail(
            model.empty() ? ErrorCode::kCorrupt : ErrorCode::kUnsupported,
            "key '" + kPrefix + "model' is " + in_quotes(model) + " (supported: gpt2, llama)");
    }
    spec.pre_tokenizer = fields.text(kPrefix + "pre", "default");
    read_tokens(fields, spec);
    if (!fields.failed() && spec.kind == VocabularyKind::kSentencePiece) read_scores(fields, spec);
    if (!fields.failed() && spec.kind == VocabularyKind::kByteLevelBpe) read_merges(fields, spec);
    if (!fields.failed()) read_specials(fields, spec);
    if (fields.failed()) return fields.error();
    add_end_of_turn(spec);
    return spec;
}

}  // namespace hearth::engine
