// TokenTrie against trying every token: the same sets in every state of random walks.
#include "engine/text/token_trie.h"

#include <gtest/gtest.h>
#include <cmath>
#include <random>

#include "common/base/rng.h"
#include "engine/text/sampler.h"
#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

// Tokens across every kind of border that JSON has, half characters among them.
std::unique_ptr<Tokenizer> tokenizer() {
    return tokenizer_of(byte_vocabulary(
        {{"{", "\""},    {"\"", ":"}, {"\":", " "}, {"\"", ","}, {"\",", "\""},    {"}", "}"},
         {"]", "}"},     {" ", " "},  {"\n", "  "}, {"t", "r"},  {"tr", "u"},      {"1", "2"},
         {"1", ","},     {"a", "b"},  {"a", "\""},  {"\\", "u"}, {"\xc3", "\xa9"}, {"b", "\xc3"},
         {"\xa9", "\""}, {"[", "["},  {"n", "u"},   {"-", "1"}}));
}

TokenMask tried(const Tokenizer& words, const JsonState& state) {
    TokenMask out(words.size());
    for (TokenId id = 0; id < words.size(); ++id) {
        const std::string text = words.decode(id);
        JsonState copy = state;
        const bool fits =
            words.ends_reply(id) ? state.may_end() : !text.empty() && copy.push_all(text);
        if (fits) out.add(id);
    }
    return out;
}

TEST(TokenTrie, AllowsWhatFitsAndNothingElse) {
    const auto words = tokenizer();
    const TokenTrie trie(*words);
    EXPECT_TRUE(trie.spells_all());
    EXPECT_EQ(trie.tokens(), words->size());
    JsonGrammar grammar;
    const auto inner = grammar.record(
        {{"\"ab\"", JsonGrammar::kText, false}, {"\"a\\\"\"", JsonGrammar::kNumber, true}});
    const auto list =
        grammar.array(*grammar.one_of({inner, JsonGrammar::kText, JsonGrammar::kNull}), 0, 4);
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE(seed);
    Rng rng(seed);
    for (const std::int32_t root : {static_cast<std::int32_t>(JsonGrammar::kAny), list, inner}) {
        grammar.set_root(root);
        for (int walk = 0; walk < 40; ++walk) {
            JsonState state(grammar);
            for (int step = 0; step < 40 && !state.is_done(); ++step) {
                TokenMask mask;
                trie.allow(state, mask);
                const TokenMask wanted = tried(*words, state);
                std::vector<TokenId> next;
                for (TokenId id = 0; id < words->size(); ++id) {
                    ASSERT_EQ(mask.holds(id), wanted.holds(id)) << id << " " << words->decode(id);
                    if (mask.holds(id) && !words->ends_reply(id)) next.push_back(id);
                }
                ASSERT_FALSE(next.empty() && !state.may_end());
                if (next.empty()) break;
                ASSERT_TRUE(state.push_all(trie.bytes(next[rng.next() % next.size()])));
            }
        }
    }
}

TEST(TokenTrie, AVocabularyWithoutAByteSpellsNotAll) {
    VocabularySpec spec = byte_vocabulary();
    EXPECT_TRUE(TokenTrie(*tokenizer_of(spec)).spells_all());
    spec.types['{'] = TokenType::kControl;
    EXPECT_FALSE(TokenTrie(*tokenizer_of(spec)).spells_all());
}

TEST(TokenTrie, ASentencePieceVocabularyHasItsBytes) {
    const auto words = tokenizer_of(sentencepiece_vocabulary());
    const TokenTrie trie(*words);
    JsonGrammar grammar;
    grammar.set_root(JsonGrammar::kFreeObject);
    JsonState state(grammar);
    ASSERT_TRUE(state.push_all("{\"a"));
    TokenMask mask;
    trie.allow(state, mask);
    const TokenMask wanted = tried(*words, state);
    for (TokenId id = 0; id < words->size(); ++id)
        ASSERT_EQ(mask.holds(id), wanted.holds(id)) << id;
}

TEST(Sampler, TakesOnlyWhatIsAllowed) {
    TokenMask allowed(200);
    allowed.add(3);
    allowed.add(150);
    for (const float temperature : {0.0f, 1.0f}) {
        SamplingParams params;
        params.temperature = temperature;
        params.top_logprobs = 1;
        Sampler sampler(params, {});
        std::vector<float> logits(200, 1.0f);
        logits[7] = 50.0f;
        logits[150] = 40.0f;
        const Sampled sampled = sampler.sample(logits, &allowed);
        EXPECT_EQ(sampled.id, 150);
        EXPECT_NEAR(sampled.logprob, -10.0f, 1e-3f);  // Of the model's own distribution.
        EXPECT_EQ(sampled.top.at(0).id, 7);
        std::vector<float> broken(200, std::nanf(""));
        EXPECT_EQ(sampler.sample(broken, &allowed).id, 3);
        std::vector<float> free(200, 1.0f);
        free[7] = 50.0f;
        EXPECT_EQ(sampler.sample(free).id, 7);
    }
}

}  // namespace
}  // namespace hearth::engine
