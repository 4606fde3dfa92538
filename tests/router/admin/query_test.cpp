// Queries and escapes, by table.
#include "router/admin/query.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

using Map = std::map<std::string, std::string>;

TEST(QueryTest, Decodes) {
    const std::pair<const char*, const char*> cases[] = {
        {"", ""}, {"a-b", "a-b"}, {"a+b", "a b"}, {"%41%2f%C3%a9", "A/\xc3\xa9"}};
    for (const auto& [text, wanted] : cases) {
        const auto decoded = percent_decoded(text);
        ASSERT_TRUE(decoded.ok()) << text;
        EXPECT_EQ(*decoded, wanted);
    }
    for (const char* text : {"%", "%4", "%zz", "a%1", "%+1"})
        EXPECT_FALSE(percent_decoded(text).ok()) << text;
}

TEST(QueryTest, ParsesStrictly) {
    const auto good = parse_query("key=a%26b&source=header&&tenant", {"key", "source", "tenant"});
    ASSERT_TRUE(good.ok());
    EXPECT_EQ(*good, (Map{{"key", "a&b"}, {"source", "header"}, {"tenant", ""}}));
    const std::pair<const char*, const char*> bad[] = {{"key=1&kez=2", "unknown parameter 'kez'"},
                                                       {"key=1&key=2", "key is given twice"},
                                                       {"key=%", "key: "}};
    for (const auto& [text, message] : bad) {
        const auto parsed = parse_query(text, {"key"});
        ASSERT_FALSE(parsed.ok()) << text;
        EXPECT_NE(parsed.error().message.find(message), std::string::npos)
            << parsed.error().message;
    }
}

}  // namespace
}  // namespace hearth
