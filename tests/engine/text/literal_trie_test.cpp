// LiteralTrie against a plain list of texts.
#include "engine/text/literal_trie.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

TEST(LiteralTrie, IsTheListOfItsTexts) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    for (int round = 0; round < 60; ++round) {
        LiteralTrie trie;
        std::vector<std::string> texts;
        for (int i = 0; i < 20; ++i) {
            std::string text;
            for (std::uint64_t n = rng.next() % 6; n > 0; --n)
                text += static_cast<char>('a' + rng.next() % 3);
            const bool is_new =
                !text.empty() && std::find(texts.begin(), texts.end(), text) == texts.end();
            EXPECT_EQ(trie.add(text), is_new) << text;
            if (is_new) texts.push_back(text);
        }
        EXPECT_EQ(trie.size(), std::ssize(texts));
        for (int i = 0; i < 200; ++i) {
            std::string text;
            std::int32_t node = 0;
            for (std::uint64_t n = rng.next() % 6; n > 0 && node >= 0; --n) {
                text += static_cast<char>('a' + rng.next() % 3);
                node = trie.next(node, static_cast<unsigned char>(text.back()));
            }
            const auto first = static_cast<std::int32_t>(rng.next() % 20);
            const auto last = first + static_cast<std::int32_t>(rng.next() % 3);
            bool leads = false, goes_on = false, is_there = false;
            for (std::int32_t t = 0; t < trie.size(); ++t) {
                const std::string& known = texts[static_cast<std::size_t>(t)];
                const bool fits = known.starts_with(text);
                is_there |= fits;
                goes_on |= fits && known.size() > text.size();
                leads |= fits && t >= first && t <= last;
            }
            ASSERT_EQ(node >= 0, is_there || text.empty()) << text;
            if (node < 0) continue;
            EXPECT_EQ(trie.leads_to(node, first, last), leads) << text;
            EXPECT_EQ(trie.is_last(node), !goes_on);
            const auto found = std::find(texts.begin(), texts.end(), text);
            EXPECT_EQ(trie.leaf(node), found == texts.end() ? -1 : found - texts.begin());
        }
    }
}

}  // namespace
}  // namespace hearth::engine
