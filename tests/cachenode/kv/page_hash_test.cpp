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
    EXPECT_EQ(root, (PageHash{0xb248d37ce9ac13ce, 0x85667caa788eb9fd}));
    EXPECT_EQ(chain_hash(root, std::vector<TokenId>{0, 1000, 2000}),
              (PageHash{0x25a17f6cf363b902, 0x487d26fa7128ae7c}));
    EXPECT_TRUE(check_page_format().ok());  // Those of docs/kv-page-format.md.
    EXPECT_EQ(page_format_probe(), page_format_probe());
    EXPECT_NE(page_format_probe(), 0u);
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
