// Strict JSON: one document, valid UTF-8, bounded depth, no key twice.
#include "cachenode/api/strict_json.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
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
