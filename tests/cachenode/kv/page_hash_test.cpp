// Page hashes: fixed values, so that every node and every build agrees, and no two inputs alike.
#include "cachenode/kv/page_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace hearth {
namespace {

using engine::TokenId;

TEST(PageHash, IsTheSameOnEveryNode) {
    const PageHash root = root_hash(42, "tenant");
    const std::vector<TokenId> tokens = {1, 2, 3, 70'000};
    const PageHash page = chain_hash(root, tokens);
    EXPECT_EQ(root, (PageHash{0x7ff944f90e036767, 0xdc47c5e9e3d9761e}));
    EXPECT_EQ(page, (PageHash{0x80716349bf787971, 0x602d168814615aee}));
}

TEST(PageHash, EveryPartOfTheInputCounts) {
    std::set<PageHash> seen;
    const auto add = [&seen](const PageHash& hash) {
        EXPECT_TRUE(seen.insert(hash).second) << seen.size();
    };
    for (const std::uint64_t model : {0ULL, 1ULL, 1ULL << 63}) {
        for (const std::string& salt :
             {std::string(), std::string("a"), std::string("ab"), std::string("a\0b", 3)}) {
            const PageHash root = root_hash(model, salt);
            add(root);
            for (TokenId id : {0, 1, 256, 1 << 20}) add(chain_hash(root, std::vector{id}));
            add(chain_hash(root, std::vector<TokenId>{0, 0}));
            add(chain_hash(root, std::vector<TokenId>(64, 0)));
            add(chain_hash(chain_hash(root, std::vector<TokenId>(64, 0)), std::vector<TokenId>{0}));
        }
    }
}

TEST(PageHash, OneChangedTokenAnywhereChangesIt) {
    const PageHash root = root_hash(1, "");
    std::vector<TokenId> tokens(64);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 37);
    std::set<PageHash> seen = {chain_hash(root, tokens)};
    for (TokenId& token : tokens) {
        ++token;
        EXPECT_TRUE(seen.insert(chain_hash(root, tokens)).second);
        --token;
    }
}

}  // namespace
}  // namespace hearth
