// Strict JSON: one document, valid UTF-8, bounded depth, no key twice.
#include "cachenode/api/strict_json.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace hearth {
namespace {

TEST(StrictJson, BuildsTheSameValueAsBoost) {
    for (const char* text :
         {"{}", "[]", " {\"a\" : [1, -2, 3.5, 1e3, 18446744073709551615, true, false, null]} \n\t",
          R"({"k":"v\n\u00e9\ud83d\ude00","":{"nested":{"deep":[[[]]]}}})", "\"x\"", "0", "null",
          R"([{"a":1},{"a":1}])", R"({"a":{"a":{"a":1}}})"}) {
        const auto ours = parse_strict_json(text);
        ASSERT_TRUE(ours.ok()) << text << ": " << ours.error().message;
        EXPECT_EQ(*ours, boost::json::parse(text)) << text;
    }
}

TEST(StrictJson, LongKeysAndStringsInParts) {
    const std::string key(5'000, 'k'), value(200'000, 'v');
    const auto parsed = parse_strict_json("{\"" + key + "\\n\":\"" + value + "\\t\"}");
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->at(key + "\n").as_string(), value + "\t");
}

TEST(StrictJson, RefusesRepeatedKeysAtAnyDepth) {
    for (const char* text : {R"({"a":1,"a":2})", R"([{"x":{"b":1,"c":2,"b":3}}])",
                             R"({"a":1,"\u0061":1})", R"({"":1,"":1})"}) {
        const auto parsed = parse_strict_json(text);
        ASSERT_FALSE(parsed.ok()) << text;
        EXPECT_NE(parsed.error().message.find("repeated"), std::string::npos) << text;
    }
}

TEST(StrictJson, DepthIsBounded) {
    const std::string in(kJsonDepthMax, '['), out(kJsonDepthMax, ']');
    EXPECT_TRUE(parse_strict_json(in + out).ok());
    EXPECT_FALSE(parse_strict_json("[" + in + out + "]").ok());
    EXPECT_FALSE(parse_strict_json(std::string(1'000'000, '[')).ok());
}

// `count` times `item`, with commas, between `open` and `close`.
std::string list_of(std::size_t count, const std::string& item, const char* open = "[",
                    const char* close = "]") {
    std::string out = open;
    for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + item;
    return out + close;
}

std::string object_of(std::size_t members) {
    std::string out = "{";
    for (std::size_t i = 0; i < members; ++i)
        out += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
    return out + "}";
}

void expect_too_large(const std::string& text, std::size_t limit) {
    const auto parsed = parse_strict_json(text);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().code, ErrorCode::kTooLarge);
    const std::string named = "more than " + std::to_string(limit);
    EXPECT_NE(parsed.error().message.find(named), std::string::npos) << parsed.error().message;
}

TEST(StrictJson, MembersOfAnObjectAreBounded) {
    EXPECT_TRUE(parse_strict_json(object_of(kJsonMembersMax)).ok());
    expect_too_large(object_of(kJsonMembersMax + 1), kJsonMembersMax);
    // Not those of its children, nor of its neighbours.
    const std::string some = object_of(kJsonMembersMax / 2 + 1);
    const std::string nested = "{\"a\":" + some + ",\"b\":{\"a\":" + some + "}}";
    EXPECT_TRUE(parse_strict_json(nested).ok());
}

TEST(StrictJson, ValuesAndContainersAreBounded) {
    EXPECT_TRUE(parse_strict_json(list_of(kJsonValuesMax - 1, "1")).ok());
    for (const char* value : {"1", "\"\"", "null", "true", "1.5", "-1", "18446744073709551615"})
        expect_too_large(list_of(kJsonValuesMax, value), kJsonValuesMax);
    EXPECT_TRUE(parse_strict_json(list_of(kJsonContainersMax - 1, "{}")).ok());
    expect_too_large(list_of(kJsonContainersMax, "{}"), kJsonContainersMax);
    expect_too_large(list_of(kJsonContainersMax, "[]"), kJsonContainersMax);
}

TEST(StrictJson, ALimitIsNoticedBeforeTheRestIsRead) {
    // What follows the limit is no JSON; the verdict is about the limit all the same.
    std::string text = object_of(kJsonMembersMax + 1);
    text.back() = ',';
    expect_too_large(text + "\xff", kJsonMembersMax);
    expect_too_large("[" + list_of(kJsonValuesMax, "1", "", "") + "\xff", kJsonValuesMax);
}

// An unseeded hash table falls to keys chosen to share a bucket: 160,000 of them once cost 10 s.
TEST(StrictJson, KeysThatCollideInAHashTableAreNoWork) {
    constexpr std::size_t kBuckets = 5'087;  // Of a libstdc++ set of 2,500 to 5,000 keys.
    std::string text = "{";
    for (std::uint64_t i = 0, members = 0; members < 64; ++i) {
        const std::string key = std::to_string(i);
        if (std::hash<std::string>{}(key) % kBuckets != 7) continue;
        text += (members++ == 0 ? "\"" : ",\"") + key + "\":0";
    }
    EXPECT_TRUE(parse_strict_json(text + "}").ok());  // As good as any other keys,
    expect_too_large(text + "," + object_of(200'000).substr(1), kJsonMembersMax);  // never more.
}

TEST(StrictJson, RepeatsAreFoundAmongManyKeysAndAfterNestedObjects) {
    const std::string many = object_of(kJsonMembersMax - 1);
    const std::string open = many.substr(0, many.size() - 1);
    EXPECT_TRUE(parse_strict_json(open + ",\"x\":0}").ok());
    EXPECT_FALSE(parse_strict_json(open + ",\"777\":0}").ok());
    EXPECT_FALSE(parse_strict_json(R"({"b":{"z":1,"a":{"q":2,"c":3}},"a":4,"b":5})").ok());
    const auto fine = parse_strict_json(R"({"b":{"z":1,"a":{"q":2,"b":3}},"a":4,"z":{"z":5}})");
    EXPECT_TRUE(fine.ok());
}

TEST(StrictJson, RefusesWhatIsNotOneDocument) {
    for (const char* text : {"", " ", "{", "{}{}", "{} x", "[1,]", "nul", "'a'", "{a:1}", "\xff",
                             "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\\ud800\"", "\"\\udc00\\ud800\"",
                             "// c\n{}", "NaN", "01", "\"a\nb\""})
        EXPECT_FALSE(parse_strict_json(text).ok()) << text;
}

TEST(StrictJson, SuiteVerdicts) {
    const std::filesystem::path folder =
        std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/json/JSONTestSuite";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no JSON suite at " << folder;
    int checked = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename();
        std::ifstream in(entry.path(), std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        const bool ours = parse_strict_json(text).ok();
        // Valid JSON that we refuse on purpose: repeated keys.
        const bool repeated = name.find("duplicated_key") != std::string::npos;
        const bool valid = name.starts_with("y_");
        if (!valid && !name.starts_with("n_")) continue;  // i_: either verdict is allowed.
        EXPECT_EQ(ours, valid && !repeated) << name;
        ++checked;
    }
    EXPECT_GT(checked, 200);
}

TEST(StrictJson, ToValidUtf8) {
    EXPECT_EQ(to_valid_utf8("plain \xc3\xa9"), "plain \xc3\xa9");
    EXPECT_EQ(to_valid_utf8(""), "");
    EXPECT_EQ(to_valid_utf8("a\xff"
                            "b"),
              "a\xef\xbf\xbd"
              "b");
    EXPECT_EQ(to_valid_utf8("\xe2\x82"), "\xef\xbf\xbd");
    const std::string fixed = to_valid_utf8("\x80\xed\xa0\x80\xf5");
    EXPECT_TRUE(parse_strict_json("\"" + fixed + "\"").ok());
}

}  // namespace
}  // namespace hearth
