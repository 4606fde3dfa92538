// JsonState by table: which texts each shape takes, where they end, and what is refused at which
// byte.
#include "engine/text/json_state.h"

#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

enum class Verdict { kRefused, kPart, kMayEnd, kDone };

Verdict judge(const JsonGrammar& grammar, std::string_view text) {
    JsonState state(grammar);
    if (!state.push_all(text)) return Verdict::kRefused;
    if (state.is_done()) return Verdict::kDone;
    return state.may_end() ? Verdict::kMayEnd : Verdict::kPart;
}

JsonGrammar rooted(std::int32_t shape) {
    JsonGrammar grammar;
    grammar.set_root(shape);
    return grammar;
}

struct Case {
    std::string text;
    Verdict wanted;
};

void expect_all(const JsonGrammar& grammar, const std::vector<Case>& cases) {
    for (const Case& one : cases) EXPECT_EQ(judge(grammar, one.text), one.wanted) << one.text;
}

TEST(JsonState, AnyValue) {
    expect_all(rooted(JsonGrammar::kAny),
               {{"", Verdict::kPart},
                {" \n\t\r1", Verdict::kMayEnd},
                {"null", Verdict::kDone},
                {"nul", Verdict::kPart},
                {"nulll", Verdict::kRefused},
                {"true", Verdict::kDone},
                {"x", Verdict::kRefused},
                {R"("a\"b")", Verdict::kDone},
                {R"({"a":[1,2.5e-3,{}],"":null})", Verdict::kDone},
                {R"({ "a" : 1 , "b":[ ] })", Verdict::kRefused},  // No blank before a colon.
                {R"({ "a": 1 , "b":[ ] })", Verdict::kDone},
                {R"({"a":1,})", Verdict::kRefused},
                {R"([1,])", Verdict::kRefused},
                {R"([,1])", Verdict::kRefused},
                {R"({"a":1}})", Verdict::kRefused},
                {"[1] ", Verdict::kRefused},
                {R"({a:1})", Verdict::kRefused}});
    EXPECT_EQ(judge(rooted(JsonGrammar::kFreeObject), "[1]"), Verdict::kRefused);
    EXPECT_EQ(judge(rooted(JsonGrammar::kFreeObject), "{}"), Verdict::kDone);
}

TEST(JsonState, Numbers) {
    expect_all(rooted(JsonGrammar::kNumber), {{"0", Verdict::kMayEnd},
                                              {"-0", Verdict::kMayEnd},
                                              {"-", Verdict::kPart},
                                              {"00", Verdict::kRefused},
                                              {"+1", Verdict::kRefused},
                                              {"1.", Verdict::kPart},
                                              {"1.5", Verdict::kMayEnd},
                                              {".5", Verdict::kRefused},
                                              {"1e", Verdict::kPart},
                                              {"1E+99", Verdict::kMayEnd},
                                              {"1e999", Verdict::kRefused},
                                              {"0.5e-7", Verdict::kMayEnd},
                                              {"1e5.5", Verdict::kRefused},
                                              {"123456789012345", Verdict::kMayEnd},
                                              {"1234567890123456", Verdict::kRefused},
                                              {"0.123456789012345", Verdict::kMayEnd},
                                              {"0.1234567890123456", Verdict::kRefused}});
    expect_all(rooted(JsonGrammar::kInteger), {{"-12", Verdict::kMayEnd},
                                               {"1.", Verdict::kRefused},
                                               {"1e", Verdict::kRefused},
                                               {"0", Verdict::kMayEnd}});
}

TEST(JsonState, TextsAreUtf8WithoutHalfCharacters) {
    expect_all(rooted(JsonGrammar::kText),
               {{"\"\x7f\"", Verdict::kDone},
                {"\"\n", Verdict::kRefused},
                {"\"\x1f", Verdict::kRefused},
                {"\"\\n\\/\\b\"", Verdict::kDone},
                {"\"\\x", Verdict::kRefused},
                {"\"\\u00e9\\uABCD\"", Verdict::kDone},
                {"\"\\u00g", Verdict::kRefused},
                {"\"\\uD83D\\uDE00\"", Verdict::kDone},
                {"\"\\ud83d\"", Verdict::kRefused},
                {"\"\\ud83d\\n", Verdict::kRefused},
                {"\"\\ud83d\\u0041", Verdict::kRefused},
                {"\"\\ude00", Verdict::kRefused},
                {"\"\\ud7ff\\ue000\"", Verdict::kDone},
                {"\"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x91\xa8\"", Verdict::kDone},
                {"\"\xc3\"", Verdict::kRefused},
                {"\"\xc0\x80", Verdict::kRefused},
                {"\"\xed\xa0\x80", Verdict::kRefused},
                {"\"\xe0\x9f", Verdict::kRefused},
                {"\"\xf4\x90", Verdict::kRefused},
                {"\"\xf5", Verdict::kRefused},
                {"\"\x80", Verdict::kRefused}});
}

TEST(JsonState, ARecordHasItsKeysInOrder) {
    JsonGrammar grammar;
    grammar.set_root(grammar.record({{"\"a\"", JsonGrammar::kInteger, false},
                                     {"\"ab\"", JsonGrammar::kBoolean, true},
                                     {"\"b\"", JsonGrammar::kNull, false},
                                     {"\"bb\"", JsonGrammar::kText, false}}));
    expect_all(grammar, {{R"({"ab":true})", Verdict::kDone},
                         {R"({"a":1,"ab":false,"b":null,"bb":""})", Verdict::kDone},
                         {R"({"a":1, "ab":true, "bb":"x"})", Verdict::kDone},
                         {R"({})", Verdict::kRefused},
                         {R"({"a":1})", Verdict::kRefused},
                         {R"({"b")", Verdict::kRefused},  // ab is still to come.
                         {R"({"b)", Verdict::kRefused},
                         {R"({"ab":true,"a)", Verdict::kRefused},
                         {R"({"ab":true,"ab)", Verdict::kRefused},
                         {R"({"ab":1)", Verdict::kRefused},
                         {R"({"ab":true,"bb":"",)", Verdict::kRefused},
                         {R"({"a":1.)", Verdict::kRefused}});
    JsonGrammar empty;
    empty.set_root(empty.record({}));
    expect_all(empty,
               {{"{}", Verdict::kDone}, {"{ }", Verdict::kDone}, {"{\"", Verdict::kRefused}});
}

TEST(JsonState, ArraysCountTheirItems) {
    JsonGrammar grammar;
    grammar.set_root(grammar.array(JsonGrammar::kInteger, 2, 3));
    expect_all(grammar, {{"[1,2]", Verdict::kDone},
                         {"[ 1, 22,3 ]", Verdict::kDone},
                         {"[1]", Verdict::kRefused},
                         {"[]", Verdict::kRefused},
                         {"[1,2,3,", Verdict::kRefused},
                         {"[true", Verdict::kRefused}});
    JsonGrammar none;
    none.set_root(none.array(JsonGrammar::kAny, 0, 0));
    expect_all(none, {{"[]", Verdict::kDone}, {"[1", Verdict::kRefused}});
}

TEST(JsonState, LiteralsMayBeginEachOther) {
    JsonGrammar grammar;
    grammar.set_root(grammar.array(grammar.literals({"1", "12", "123", "\"a\"", "1"}), 0, -1));
    expect_all(grammar, {{"[1,12,123,\"a\"]", Verdict::kDone},
                         {"[13", Verdict::kRefused},
                         {"[\"b", Verdict::kRefused}});
    grammar.set_root(grammar.literals({"1", "12"}));
    expect_all(grammar,
               {{"1", Verdict::kMayEnd}, {"12", Verdict::kDone}, {"2", Verdict::kRefused}});
}

TEST(JsonState, AlternativesBeginDifferently) {
    JsonGrammar grammar;
    EXPECT_FALSE(grammar.one_of({JsonGrammar::kInteger, JsonGrammar::kNumber}));
    EXPECT_FALSE(grammar.one_of({JsonGrammar::kText, grammar.literals({"1", "\"x\""})}));
    const auto mixed =
        grammar.one_of({JsonGrammar::kText, JsonGrammar::kNull, JsonGrammar::kNumber});
    ASSERT_TRUE(mixed);
    grammar.set_root(*mixed);
    expect_all(grammar, {{"null", Verdict::kDone},
                         {"\"\"", Verdict::kDone},
                         {"-1", Verdict::kMayEnd},
                         {"true", Verdict::kRefused}});
}

TEST(JsonState, FramesStandAroundTheirValue) {
    JsonGrammar grammar;
    grammar.set_root(grammar.framed(
        {{"<f>\n{\"f\": ", JsonGrammar::kFreeObject}, {"<f>\n{\"g\": ", JsonGrammar::kInteger}},
        "}\n</f>"));
    expect_all(grammar, {{"<f>\n{\"f\": {}}\n</f>", Verdict::kDone},
                         {"<f>\n{\"g\": 17}\n</f>", Verdict::kDone},
                         {"<f>\n{\"g\": {", Verdict::kRefused},
                         {" <f>", Verdict::kRefused},
                         {"<f>\n{\"h", Verdict::kRefused},
                         {"<f>\n{\"f\": {}}\n</g", Verdict::kRefused}});
    grammar.set_root(grammar.framed({{"=", JsonGrammar::kInteger}}, ""));
    expect_all(grammar,
               {{"=1", Verdict::kMayEnd}, {"=", Verdict::kPart}, {"=x", Verdict::kRefused}});
}

TEST(JsonState, IsBounded) {
    const JsonGrammar grammar = rooted(JsonGrammar::kAny);
    EXPECT_EQ(judge(grammar, std::string(kJsonBlanksMax, ' ') + "1"), Verdict::kMayEnd);
    EXPECT_EQ(judge(grammar, std::string(kJsonBlanksMax + 1, ' ')), Verdict::kRefused);
    const std::string deep(kJsonFreeDepthMax, '[');
    EXPECT_EQ(judge(grammar, deep + std::string(kJsonFreeDepthMax, ']')), Verdict::kDone);
    EXPECT_EQ(judge(grammar, deep + "["), Verdict::kRefused);
    EXPECT_EQ(judge(grammar, deep + "\"x\""), Verdict::kPart);
}

TEST(JsonState, ACopyGoesItsOwnWay) {
    const JsonGrammar grammar = rooted(JsonGrammar::kAny);
    JsonState first(grammar);
    ASSERT_TRUE(first.push_all("{\"a\":[1"));
    JsonState second = first;
    ASSERT_TRUE(first.push_all("]}"));
    EXPECT_TRUE(first.is_done());
    EXPECT_FALSE(second.is_done());
    EXPECT_TRUE(second.push_all(",2]}"));
}

// Whatever came, some byte goes on: a reply is never stuck.
TEST(JsonState, IsNeverStuck) {
    const std::uint64_t seed = static_cast<std::uint64_t>(std::random_device{}());
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const JsonGrammar grammar = rooted(JsonGrammar::kAny);
    for (int walk = 0; walk < 200; ++walk) {
        JsonState state(grammar);
        for (int step = 0; step < 300 && !state.is_done(); ++step) {
            std::vector<unsigned char> next;
            for (int byte = 0; byte < 256; ++byte) {
                JsonState tried = state;
                if (tried.push(static_cast<unsigned char>(byte)))
                    next.push_back(static_cast<unsigned char>(byte));
            }
            if (next.empty()) {
                ASSERT_TRUE(state.may_end());
                break;
            }
            state.push(next[rng.next() % next.size()]);
        }
    }
}

}  // namespace
}  // namespace hearth::engine
