// API keys: fresh ones differ, hashes are SHA-256, and only the right key is found.
#include "common/wire/api_key.h"

#include <gtest/gtest.h>

#include <set>

namespace hearth {
namespace {

TEST(ApiKey, FreshKeysAreLongAndDiffer) {
    std::set<std::string> keys;
    for (int i = 0; i < 100; ++i) {
        const std::string key = fresh_api_key();
        EXPECT_EQ(key.size(), 3u + 64);
        EXPECT_TRUE(key.starts_with("hk-"));
        keys.insert(key);
    }
    EXPECT_EQ(keys.size(), 100u);
}

TEST(ApiKey, HashesReadBack) {
    // FIPS 180-2, example B.1.
    const std::string known =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    EXPECT_EQ(format_key_hash(hash_api_key("abc")), known);
    const auto read = parse_key_hash(known);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(*read, hash_api_key("abc"));
    for (const std::string& bad : {known.substr(1), known + "0", known.substr(0, known.size() - 1),
                                   "sha256:BA" + known.substr(9), std::string("abc"),
                                   "sha256:gg" + known.substr(9), std::string()})
        EXPECT_FALSE(parse_key_hash(bad).ok()) << bad;
}

TEST(ApiKey, FindsTheOneThatMatches) {
    std::vector<ApiKeyHash> known;
    for (int i = 0; i < 20; ++i) known.push_back(hash_api_key("key-" + std::to_string(i)));
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(find_key("key-" + std::to_string(i), known), i);
    EXPECT_EQ(find_key("key-20", known), std::nullopt);
    EXPECT_EQ(find_key("", known), std::nullopt);
    EXPECT_EQ(find_key("key-0", {}), std::nullopt);
}

}  // namespace
}  // namespace hearth
