// Byte-level BPE: merge order, ignore_merges, random bytes round trip, long words, a slow
// reference.
#include "engine/text/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "common/base/rng.h"
#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

TEST(BpeTokenizer, MergesByRankThenLeftmost) {
    const auto tokenizer = tokenizer_of(byte_vocabulary({{"b", "c"}, {"a", "b"}, {"a", "a"}}));
    const TokenId bc = tokenizer->find("bc"), ab = tokenizer->find("ab"),
                  aa = tokenizer->find("aa");
    EXPECT_EQ(ids_of(*tokenizer, "abc"), (std::vector<TokenId>{'a', bc}));
    EXPECT_EQ(ids_of(*tokenizer, "abd"), (std::vector<TokenId>{ab, 'd'}));
    EXPECT_EQ(ids_of(*tokenizer, "aaa"), (std::vector<TokenId>{aa, 'a'}));
    EXPECT_EQ(ids_of(*tokenizer, ""), (std::vector<TokenId>{}));
}

TEST(BpeTokenizer, IgnoreMergesTakesWholeWords) {
    VocabularySpec spec = byte_vocabulary();
    const TokenId word = add_token(spec, "hello", TokenType::kNormal);
    EXPECT_EQ(ids_of(*tokenizer_of(spec), "hello").size(), 5u);
    spec.ignore_merges = true;
    EXPECT_EQ(ids_of(*tokenizer_of(spec), "hello"), (std::vector<TokenId>{word}));
}

TEST(BpeTokenizer, MergingTextNeverMakesAControlToken) {
    VocabularySpec spec = byte_vocabulary({{"<", "x"}});
    const TokenId mark = add_token(spec, "<x>", TokenType::kControl);
    spec.merges.emplace_back("<x", ">");
    spec.ignore_merges = true;
    const auto ids = ids_of(*tokenizer_of(spec), "<x>");
    EXPECT_EQ(std::count(ids.begin(), ids.end(), mark), 0);
    EXPECT_EQ(ids_of(*tokenizer_of(spec), "<x>", Tokenizer::Special::kParse),
              (std::vector<TokenId>{mark}));
}

TEST(BpeTokenizer, BytesWithoutATokenAreLeftOut) {
    VocabularySpec spec = byte_vocabulary({{"a", "b"}});
    spec.tokens['z'] = "zz-unused";
    const auto tokenizer = tokenizer_of(spec);
    EXPECT_EQ(ids_of(*tokenizer, "azb"), (std::vector<TokenId>{tokenizer->find("ab")}));
}

// Merges one word by looking at every pair each time, as the definition says.
std::vector<std::string> merged_slowly(const VocabularySpec& spec, const std::string& word) {
    std::vector<std::string> parts;
    for (const char c : word) parts.push_back(printable(std::string(1, c)));
    for (;;) {
        std::size_t best = spec.merges.size(), at = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto pair = std::make_pair(parts[i], parts[i + 1]);
            const auto it = std::find(spec.merges.begin(), spec.merges.end(), pair);
            const auto rank = static_cast<std::size_t>(it - spec.merges.begin());
            if (rank < best) best = rank, at = i;
        }
        if (best == spec.merges.size()) return parts;
        parts[at] += parts[at + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
}

TEST(BpeTokenizer, AgreesWithTheSlowReferenceOnRandomVocabularies) {
    const std::uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    Rng rng(seed);
    for (int round = 0; round < 50; ++round) {
        std::vector<std::string> pieces = {"a", "b", "c", "d"};
        std::vector<std::pair<std::string, std::string>> merges;
        for (int i = 0; i < 20; ++i) {
            const std::string left = pieces[rng.below(pieces.size())];
            const std::string right = pieces[rng.below(pieces.size())];
            const std::string both = left + right;
            if (std::find(pieces.begin(), pieces.end(), both) != pieces.end()) continue;
            merges.emplace_back(left, right);
            pieces.push_back(both);
        }
        const VocabularySpec spec = byte_vocabulary(merges);
        const auto tokenizer = tokenizer_of(spec);
        std::string word;
        for (int i = 0; i < 60; ++i) word.push_back(static_cast<char>('a' + rng.below(4)));
        std::vector<std::string> got;
        for (const TokenId id : ids_of(*tokenizer, word)) got.push_back(tokenizer->decode(id));
        EXPECT_EQ(got, merged_slowly(spec, word)) << word;
    }
}

TEST(BpeTokenizer, RandomBytesRoundTripUnderEveryRule) {
    const std::uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    Rng rng(seed);
    const std::string spice[] = {" ",          "  ",       "\n",           "'s",
                                 "12345",      "\xC3\xA9", "\xE6\x88\x91", "\xF0\x9F\xA6\x99",
                                 "<|im_end|>", "aaaa"};
    for (const char* rule :
         {"gpt-2", "smollm", "llama-bpe", "qwen2", "falcon", "deepseek-llm", "default"}) {
        VocabularySpec spec = byte_vocabulary({{"a", "a"}, {" ", "a"}, {"\xC3", "\xA9"}});
        spec.pre_tokenizer = rule;
        const auto tokenizer = tokenizer_of(spec);
        for (int round = 0; round < 200; ++round) {
            std::string text;
            for (std::uint64_t n = rng.below(80); n > 0; --n) {
                if (rng.below(2) == 0) {
                    text.push_back(static_cast<char>(rng.below(256)));
                } else {
                    text += spice[rng.below(std::size(spice))];
                }
            }
            for (const auto mode : {Tokenizer::Special::kPlain, Tokenizer::Special::kParse}) {
                const auto ids = ids_of(*tokenizer, text, mode);
                ASSERT_EQ(text_of(*tokenizer, ids, true), text) << rule;
            }
        }
    }
}

TEST(BpeTokenizer, AVeryLongWordIsNotQuadratic) {
    std::vector<std::pair<std::string, std::string>> merges;
    for (std::string piece = "a"; piece.size() < 1024; piece += piece) {
        merges.emplace_back(piece, piece);
    }
    const auto tokenizer = tokenizer_of(byte_vocabulary(merges));
    const std::string text(1 << 20, 'a');  // Quadratic work on it would take hours.
    const auto ids = ids_of(*tokenizer, text);
    EXPECT_EQ(ids.size(), 1024u);
    EXPECT_EQ(text_of(*tokenizer, ids), text);
}

}  // namespace
}  // namespace hearth::engine
