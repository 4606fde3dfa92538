// Schemas: what is refused and by which name; and replies of noise that are bound to random ones.
#include "cachenode/api/schema_reader.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <random>

#include "cachenode/api/strict_json.h"
#include "cachenode/scheduler/reply.h"
#include "tests/cachenode/api/random_schema.h"
#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using engine::JsonGrammar;
using engine::JsonState;

struct Judged {
    std::optional<ApiError> error;
    JsonGrammar grammar;
};

Judged read(const std::string& schema) {
    Judged out;
    std::int32_t shape = 0;
    out.error = read_schema(json::parse(schema), "s", out.grammar, shape);
    out.grammar.set_root(shape);
    return out;
}

bool takes(const JsonGrammar& grammar, std::string_view text) {
    JsonState state(grammar);
    return state.push_all(text) && state.may_end();
}

TEST(SchemaReader, TakesTheSubset) {
    struct Case {
        std::string schema;
        std::vector<std::string> valid, invalid;
    };
    const std::vector<Case> cases = {
        {"{}", {"1", "{\"a\":[]}"}, {"x"}},
        {"true", {"null"}, {"x"}},
        {R"({"title":"t","description":"d","type":"object"})", {R"({"x":1})", "{}"}, {"[]"}},
        {R"({"type":"object","additionalProperties":true})", {R"({"x":1})"}, {}},
        {R"({"type":"object","properties":{}})", {"{}"}, {R"({"x":1})"}},
        {R"({"properties":{"x":{"type":"integer"}},"required":["x"]})",
         {R"({"x":1})"},
         {"{}", "1"}},
        {R"({"type":["string","null"]})", {"null", "\"a\""}, {"1"}},
        {R"({"type":["object","null"],"properties":{"a":{}}})", {"null", R"({"a":1})"}, {"[]"}},
        {R"({"enum":["a",1,2.5,null,true]})",
         {"\"a\"", "1", "2.5", "null", "true"},
         {"\"b\"", "2"}},
        {R"({"type":"string","enum":["a","b"],"default":"a"})", {"\"a\""}, {"\"c\""}},
        {R"({"const":"\u00e9\n"})", {"\"\xc3\xa9\\n\""}, {"\"e\""}},
        {R"({"type":"array","items":{"type":"boolean"},"minItems":1})", {"[true]"}, {"[]", "[1]"}},
        {R"({"items":{"type":"null"}})", {"[]", "[null]"}, {"[1]"}},
        {R"({"anyOf":[{"type":"integer"},{"type":"null"}]})", {"1", "null"}, {"1.5", "\"a\""}},
        {R"({"$defs":{"N":{"type":"integer"}},"type":"array","items":{"$ref":"#/$defs/N"}})",
         {"[1,2]"},
         {"[null]"}},
    };
    for (const Case& one : cases) {
        const Judged judged = read(one.schema);
        ASSERT_FALSE(judged.error) << one.schema << ": " << judged.error->message;
        for (const std::string& text : one.valid) EXPECT_TRUE(takes(judged.grammar, text)) << text;
        for (const std::string& text : one.invalid)
            EXPECT_FALSE(takes(judged.grammar, text)) << one.schema << " " << text;
    }
}

TEST(SchemaReader, RefusesTheRestByName) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {R"({"type":"string","pattern":"a"})", "s.pattern"},
        {R"({"type":"string","format":"date"})", "s.format"},
        {R"({"type":"integer","minimum":0})", "s.minimum"},
        {R"({"type":"object","properties":{"a":{"type":"string","maxLength":3}}})",
         "s.properties.a.maxLength"},
        {R"({"type":"array","items":{"oneOf":[]}})", "s.items.oneOf"},
        {R"({"type":"array","uniqueItems":true})", "s.uniqueItems"},
        {R"({"type":"object","patternProperties":{}})", "s.patternProperties"},
        {R"({"allOf":[{}]})", "s.allOf"},
        {R"({"not":{}})", "s.not"},
        {R"({"if":{},"type":"null"})", "s.if"},
        {R"({"type":"text"})", "s.type"},
        {R"({"type":[]})", "s.type"},
        {R"({"type":["integer","number"]})", "s.type"},
        {R"({"enum":[]})", "s.enum"},
        {R"({"enum":[[1]]})", "s.enum"},
        {R"({"type":"integer","enum":["a"]})", "s.enum"},
        {R"({"const":{}})", "s.const"},
        {R"({"anyOf":[{"type":"string"},{"enum":["a"]}]})", "s.anyOf"},
        {R"({"anyOf":[{"type":"null"},{"type":"string","minLength":1}]})", "s.anyOf[1].minLength"},
        {R"({"type":"object","required":["a"]})", "s.required"},
        {R"({"type":"object","properties":{"a":{}},"additionalProperties":true})",
         "s.additionalProperties"},
        {R"({"type":"object","additionalProperties":{"type":"string"}})", "s.additionalProperties"},
        {R"({"type":"array","minItems":3,"maxItems":2})", "s.minItems"},
        {R"({"type":"array","maxItems":-1})", "s.maxItems"},
        {R"({"type":"array","items":[{}]})", "s.items"},
        {R"({"$ref":"#/$defs/A"})", "s.$ref"},
        {R"({"$ref":"https://example.org/a"})", "s.$ref"},
        {R"({"$defs":{"A":{"type":"array","items":{"$ref":"#/$defs/A"}}},"$ref":"#/$defs/A"})",
         "s.items.$ref"},
        {"false", "s"},
        {"3", "s"},
    };
    for (const auto& [schema, param] : cases) {
        const Judged judged = read(schema);
        ASSERT_TRUE(judged.error) << schema;
        EXPECT_EQ(judged.error->param, param) << schema << ": " << judged.error->message;
        EXPECT_EQ(judged.error->status, 400);
        EXPECT_NE(judged.error->message.find(param), std::string::npos) << judged.error->message;
    }
}

TEST(SchemaReader, IsBounded) {
    std::string deep = "{}";
    for (int i = 0; i < 26; ++i) deep = R"({"type":"array","items":)" + deep + "}";
    EXPECT_TRUE(read(deep).error);
    // A chain of names is as deep as one of values; a fan of names does not grow.
    std::string defs;
    for (int i = 0; i < 100; ++i) {
        const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}";
        defs += "\"d" + std::to_string(i) + R"(":{"type":"array","items":)" + next + "},";
    }
    EXPECT_TRUE(read("{\"$defs\":{" + defs + R"("d100":{}},"$ref":"#/$defs/d0"})").error);
    defs.clear();
    for (int i = 0; i < 20; ++i) {
        const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}";
        defs += "\"d" + std::to_string(i) + R"(":{"type":"object","properties":{"a":)" + next +
                ",\"b\":" + next + "}},";
    }
    EXPECT_FALSE(read("{\"$defs\":{" + defs + R"("d20":{}},"$ref":"#/$defs/d0"})").error);
    std::string wide;
    for (int i = 0; i < 5000; ++i) wide += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "xyz\"";
    const Judged judged = read("{\"enum\":[" + wide + "]}");
    ASSERT_TRUE(judged.error);
    EXPECT_EQ(judged.error->param, "s.enum");
    // Schemas of one request share a grammar, and its bounds.
    JsonGrammar grammar;
    std::int32_t shape = 0;
    const json::value large = {{"const", std::string(20'000, 'x')}};
    EXPECT_FALSE(read_schema(large, "a", grammar, shape));
    EXPECT_TRUE(read_schema(large, "b", grammar, shape));
}

// Logits of noise that leans to what closes values, so that most replies end.
void babble(Rng& rng, float lean, std::vector<float>& logits) {
    for (float& x : logits) x = static_cast<float>(rng.next() >> 40) / 16777216.0f * 4.0f;
    for (const char c : std::string_view("\"}],")) logits[static_cast<unsigned char>(c)] += lean;
}

TEST(SchemaReader, EveryReplyThatEndsIsValid) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    const engine::Tokenizer& words = testing::small_tokenizer();
    const auto trie = std::make_shared<const engine::TokenTrie>(words);
    ASSERT_TRUE(trie->spells_all());
    int ended = 0, cut = 0;
    for (int round = 0; round < 1000; ++round) {
        const json::value schema = testing::random_schema(rng, 3);
        SCOPED_TRACE(json::serialize(schema));
        auto grammar = std::make_shared<engine::TokenGrammar>();
        std::int32_t shape = 0;
        const auto error = read_schema(schema, "s", grammar->json, shape);
        ASSERT_FALSE(error) << error->message;
        grammar->json.set_root(shape);
        grammar->tokens = trie;
        TurnRequest turn;
        turn.grammar = grammar;
        turn.max_tokens = 60;
        turn.sampling.seed = rng.next();
        turn.min_tokens = 1'000'000;  // Neither counts here.
        turn.ignore_eos = true;
        Reply reply(words, turn);
        Reply::Step step;
        const float lean = static_cast<float>(round % 5);
        std::vector<float> logits(static_cast<std::size_t>(words.size()));
        while (!step.has_ended) {
            babble(rng, lean, logits);
            step = reply.sample(logits);
        }
        (step.finish == FinishReason::kStop ? ended : cut) += 1;
        if (step.finish != FinishReason::kStop) continue;
        const auto parsed = parse_strict_json(reply.text());
        ASSERT_TRUE(parsed.ok()) << reply.text();
        EXPECT_EQ(testing::why_invalid(schema, *parsed), "") << reply.text();
    }
    EXPECT_GT(ended, 500);
    EXPECT_GT(cut, 0);
}

}  // namespace
}  // namespace hearth
