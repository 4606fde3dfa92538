// Makes the tokenizer of the kind that the vocabulary names; the streaming detokenizer.
#include "engine/text/tokenizer.h"

#include "engine/text/bpe_tokenizer.h"
#include "engine/text/sentencepiece_tokenizer.h"
#include "engine/text/utf8.h"

namespace hearth::engine {

Result<std::unique_ptr<Tokenizer>> Tokenizer::make(const VocabularySpec& spec) {
    switch (spec.kind) {
        case VocabularyKind::kByteLevelBpe: return BpeTokenizer::make(spec);
        case VocabularyKind::kSentencePiece: return SentencePieceTokenizer::make(spec);
    }
    return make_error(ErrorCode::kUnsupported, "vocabulary: unknown kind");
}

std::string StreamingDetokenizer::add(TokenId id) {
    pending_ += tokenizer_.decode(id);
    std::string text;
    take_valid_utf8(pending_, false, text);
    return text;
}

std::string StreamingDetokenizer::finish() {
    std::string text;
    take_valid_utf8(pending_, true, text);
    return text;
}

}  // namespace hearth::engine
