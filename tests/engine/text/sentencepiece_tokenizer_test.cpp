// SentencePiece-style tokenising: scores, the leading space, byte fallback, long words.
#include "engine/text/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>

#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

const std::string kSpace = "\xE2\x96\x81";

std::vector<std::string> pieces(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::vector<std::string> all;
    for (const TokenId id : ids) all.push_back(tokenizer.spec().tokens[static_cast<size_t>(id)]);
    return all;
}

TEST(SentencePieceTokenizer, BestScoreMergesFirst) {
    const auto tokenizer = tokenizer_of(sentencepiece_vocabulary());
    EXPECT_EQ(pieces(*tokenizer, ids_of(*tokenizer, "hello")),
              (std::vector<std::string>{kSpace + "hello"}));
    // "or" (-5) comes before "_w" (-11), so "wor" wins over "_w"; no piece joins "_" and "world".
    VocabularySpec spec = sentencepiece_vocabulary();
    spec.add_space_prefix = false;
    const auto bare = tokenizer_of(spec);
    EXPECT_EQ(pieces(*bare, ids_of(*bare, "worldhe")), (std::vector<std::string>{"world", "he"}));
    EXPECT_EQ(ids_of(*bare, ""), (std::vector<TokenId>{}));
}

TEST(SentencePieceTokenizer, SpaceInFrontOfFirstTextOnly) {
    VocabularySpec spec = sentencepiece_vocabulary();
    const auto tokenizer = tokenizer_of(spec);
    EXPECT_EQ(text_of(*tokenizer, ids_of(*tokenizer, "he")), " he");
    std::vector<TokenId> ids;
    tokenizer->encode_continuation("he", Tokenizer::Special::kPlain, ids);
    EXPECT_EQ(text_of(*tokenizer, ids), "he");
    // As the reference: also behind a special token.
    ids = ids_of(*tokenizer, "he<s>he", Tokenizer::Special::kParse);
    EXPECT_EQ(text_of(*tokenizer, ids, true), " he<s> he");
}

TEST(SentencePieceTokenizer, ControlTokensAreNeverMadeFromText) {
    VocabularySpec spec = sentencepiece_vocabulary();
    add_token(spec, "s>", TokenType::kNormal, -1);
    const auto tokenizer = tokenizer_of(spec);
    for (const TokenId id : ids_of(*tokenizer, "<s></s>")) EXPECT_GT(id, 2);
}

TEST(SentencePieceTokenizer, RunesWithoutATokenBecomeBytes) {
    VocabularySpec spec = sentencepiece_vocabulary();
    const auto tokenizer = tokenizer_of(spec);
    std::vector<TokenId> ids;
    tokenizer->encode_continuation("\xC3\xA9\xFF", Tokenizer::Special::kPlain, ids);
    EXPECT_EQ(pieces(*tokenizer, ids), (std::vector<std::string>{"<0xC3>", "<0xA9>", "<0xFF>"}));
    EXPECT_EQ(text_of(*tokenizer, ids), "\xC3\xA9\xFF");
    for (auto& type : spec.types) {
        if (type == TokenType::kByte) type = TokenType::kUnused;
    }
    ids.clear();
    tokenizer_of(spec)->encode_continuation("\xC3\xA9", Tokenizer::Special::kPlain, ids);
    EXPECT_EQ(ids, (std::vector<TokenId>{spec.unknown, spec.unknown}));
}

TEST(SentencePieceTokenizer, AVeryLongWordIsNotQuadratic) {
    VocabularySpec spec = sentencepiece_vocabulary();
    float score = -1000;
    for (std::string piece = "aa"; piece.size() <= 64; piece += piece) {
        add_token(spec, piece, TokenType::kNormal, score--);
    }
    spec.add_space_prefix = false;
    const auto tokenizer = tokenizer_of(spec);
    const std::string text(1 << 20, 'a');  // Quadratic work on it would take hours.
    const auto ids = ids_of(*tokenizer, text);
    EXPECT_EQ(ids.size(), text.size() / 64);
    EXPECT_EQ(text_of(*tokenizer, ids), text);
}

}  // namespace
}  // namespace hearth::engine
