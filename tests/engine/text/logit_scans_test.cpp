// The scans against the plain loops that they stand for, at sizes with and without a rest.
#include "engine/text/logit_scans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(Rng& rng, std::size_t count) {
    std::vector<float> out(count);
    for (float& x : out) x = static_cast<float>(rng.uniform() * 40.0 - 20.0);
    return out;
}

TEST(LogitScans, NotANumberAndInfinityBecomeUsable) {
    for (const std::size_t size : {1u, 4u, 7u, 33u}) {
        for (std::size_t at = 0; at < size; ++at) {
            std::vector<float> logits(size, 1.0f);
            logits[at] = std::numeric_limits<float>::quiet_NaN();
            make_usable(logits);
            EXPECT_EQ(logits[at], -kInfinity);
            logits[at] = kInfinity;
            make_usable(logits);
            EXPECT_EQ(logits[at], std::numeric_limits<float>::max());
            EXPECT_EQ(std::count(logits.begin(), logits.end(), 1.0f),
                      static_cast<std::ptrdiff_t>(size) - 1);
        }
    }
}

TEST(LogitScans, TheLargestIsTheFirstOfEquals) {
    Rng rng(1);
    for (int round = 0; round < 2000; ++round) {
        std::vector<float> logits = random_logits(rng, 1 + rng.below(70));
        for (float& x : logits) x = std::round(x / 8.0f);  // Many equals.
        const auto want = std::max_element(logits.begin(), logits.end()) - logits.begin();
        ASSERT_EQ(index_of_largest(logits), static_cast<std::size_t>(want));
    }
    const std::vector<float> nothing(20, -kInfinity);
    EXPECT_EQ(index_of_largest(nothing), 0u);
}

TEST(LogitScans, WeightsAreExponentialsAndTheirSumIsWalked) {
    Rng rng(2);
    for (const std::size_t size : {1u, 255u, 256u, 700u}) {
        for (const float temperature : {0.05f, 1.0f, 2.0f}) {
            std::vector<float> logits = random_logits(rng, size);
            logits[rng.below(size)] = -kInfinity;
            const float top = *std::max_element(logits.begin(), logits.end());
            if (top == -kInfinity) continue;
            DrawWeights weights;
            weights.weigh(logits, top, temperature, 0.001f);
            double total = 0.0;
            for (std::size_t i = 0; i < size; ++i) {
                const double exact = std::exp((double{logits[i]} - top) / temperature);
                if (exact < 0.00101) continue;
                EXPECT_NEAR(weights.of[i], exact, 3e-6 * exact) << size << " " << i;
                total += exact;
            }
            EXPECT_NEAR(weights.total, total, 1e-5 * total + 0.002);
            for (int i = 0; i < 200; ++i) {
                const double share = i < 199 ? rng.uniform() : 1.0 - 1e-16;
                const std::size_t id = weights.at(share);
                ASSERT_LT(id, size);
                ASSERT_GT(weights.of[id], 0.0f);
                double before = 0.0;
                for (std::size_t j = 0; j < id; ++j) before += weights.of[j];
                EXPECT_LE(before, share * weights.total * (1 + 1e-5));
                EXPECT_GE(before + weights.of[id], share * weights.total * (1 - 1e-5));
            }
        }
    }
}

}  // namespace
}  // namespace hearth::engine
