// nfc: examples of Annex #15, invalid bytes, equivalent texts, and time on hostile text.
#include "engine/text/normalize.h"

#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

TEST(Nfc, Examples) {
    EXPECT_EQ(nfc("plain"), "plain");
    EXPECT_EQ(nfc("e\u0301"), "\u00e9");
    EXPECT_EQ(nfc("\u212b"), "\u00c5");              // Angstrom sign
    EXPECT_EQ(nfc("\u1e9b\u0323"), "\u1e9b\u0323");  // No composite of both
    EXPECT_EQ(nfc("s\u0307\u0323"), "\u1e69");       // Marks are put in order
    EXPECT_EQ(nfc("\u1112\u1161\u11ab"), "\ud55c");  // Hangul
    EXPECT_EQ(nfc("\ufb01"), "\ufb01");              // Compatibility forms stay
    EXPECT_EQ(nfc("\xff"
                  "e\u0301\xcc"),
              "\xff\u00e9\xcc");  // Bytes that are no text stay
    EXPECT_EQ(nfc(""), "");
}

// Marks of unlike classes may stand in any order, and composed text stays as it is.
TEST(Nfc, EquivalentTextsBecomeOne) {
    const std::uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    Rng rng(seed);
    const std::string bases[] = {"a", "e", "s", " ", "\u1e9b", "\u05d0", "\u1100\u1161"};
    // Below, above, overlay, and at the right above: classes 220, 230, 1, 232.
    const std::string marks[] = {"\u0323", "\u0301", "\u0334", "\u0315"};
    for (int round = 0; round < 2000; ++round) {
        std::string one, other;
        for (std::uint64_t n = rng.below(6); n > 0; --n) {
            const std::string& base = bases[rng.below(std::size(bases))];
            const std::size_t a = rng.below(4), b = (a + 1 + rng.below(3)) % 4;
            one += base + marks[a] + marks[b];
            other += base + marks[b] + marks[a];
        }
        ASSERT_EQ(nfc(one), nfc(other)) << one;
        ASSERT_EQ(nfc(nfc(one)), nfc(one)) << one;
    }
}

TEST(Nfc, APageOfMarksTakesNoQuadraticTime) {
    std::string text = "a";
    for (int i = 0; i < 400'000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
    EXPECT_LE(nfc(text).size(), text.size());  // Quadratic time would be minutes.
}

}  // namespace
}  // namespace hearth::engine
