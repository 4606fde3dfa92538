// Sampler: each parameter by a table, the distribution by chi-square, replay and determinism.
#include "engine/text/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Sampled sample_once(const SamplingParams& params, std::vector<float> logits,
                    const std::vector<TokenId>& prompt = {},
                    const std::vector<TokenId>& reply = {}) {
    Sampler sampler(params, prompt);
    for (const TokenId id : reply) sampler.accept(id);
    return sampler.sample(logits);
}

SamplingParams greedy() {
    SamplingParams params;
    params.temperature = 0.0f;
    return params;
}

// The ids that come out of many draws of the first token, over seeds.
std::set<TokenId> support(SamplingParams params, const std::vector<float>& logits,
                          int draws = 2000) {
    std::set<TokenId> ids;
    for (int i = 0; i < draws; ++i) {
        params.seed = static_cast<std::uint64_t>(i);
        ids.insert(sample_once(params, logits).id);
    }
    return ids;
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheBest) {
    EXPECT_EQ(sample_once(greedy(), {1, 3, 3, 2}).id, 1);
    EXPECT_EQ(sample_once(greedy(), {kNan, -5, kNan}).id, 1);
    EXPECT_EQ(sample_once(greedy(), {1, kInf, 2}).id, 1);
    EXPECT_EQ(sample_once(greedy(), {kNan, -kInf}).id, 0);
    SamplingParams params = greedy();
    params.forbidden = {0, 1};
    EXPECT_EQ(sample_once(params, {5, 4, 3}).id, 2);
    EXPECT_EQ(sample_once(params, {kNan, kNan, kNan}).id, 2);
}

TEST(Sampler, PenaltiesBiasAndForbidden) {
    SamplingParams params = greedy();
    params.repetition_penalty = 2.0f;  // Over the prompt; positive divided, negative multiplied.
    EXPECT_EQ(sample_once(params, {4, 3}, {0}).id, 1);
    EXPECT_EQ(sample_once(params, {-1, -1.5f}, {0}).id, 1);
    EXPECT_EQ(sample_once(params, {4, 1}, {0, 0, 0}).id, 0);  // Once, however often it was seen.
    EXPECT_EQ(sample_once(params, {4, 3}, {99, -1}).id, 0);

    params = greedy();
    params.presence_penalty = 1.0f;  // Over the reply only.
    EXPECT_EQ(sample_once(params, {4, 3.5f}, {0}).id, 0);
    EXPECT_EQ(sample_once(params, {4, 3.5f}, {}, {0}).id, 1);
    EXPECT_EQ(sample_once(params, {4, 2.5f}, {}, {0, 0, 0}).id, 0);
    params = greedy();
    params.frequency_penalty = 1.0f;
    EXPECT_EQ(sample_once(params, {4, 2.5f}, {}, {0}).id, 0);
    EXPECT_EQ(sample_once(params, {4, 2.5f}, {}, {0, 0}).id, 1);

    params = greedy();
    params.logit_bias = {{1, 2.0f}, {7, 100.0f}};
    EXPECT_EQ(sample_once(params, {4, 3}).id, 1);
    params.logit_bias = {{0, -100.0f}};
    EXPECT_EQ(sample_once(params, {4, 3}).id, 1);

    params = greedy();
    params.forbidden = {0};
    params.forbidden_tokens = 2;
    EXPECT_EQ(sample_once(params, {4, 3}, {}, {}).id, 1);
    EXPECT_EQ(sample_once(params, {4, 3}, {}, {1}).id, 1);
    EXPECT_EQ(sample_once(params, {4, 3}, {}, {1, 1}).id, 0);
}

TEST(Sampler, FiltersByTable) {
    // Probabilities 0.4, 0.3, 0.2, 0.1 for ids 3, 1, 0, 2.
    const std::vector<float> logits = {std::log(0.2f), std::log(0.3f), std::log(0.1f),
                                       std::log(0.4f)};
    SamplingParams params;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{0, 1, 2, 3}));
    params.top_k = 2;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{1, 3}));
    params.top_k = 1;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{3}));
    params = {};
    params.top_p = 0.65f;  // 0.4 is not enough, 0.7 is.
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{1, 3}));
    params.top_p = 0.0f;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{3}));
    params = {};
    params.min_p = 0.45f;  // Of the best: 0.18.
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{0, 1, 3}));
    params.min_p = 1.0f;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{3}));
    params = {};
    params.top_k = 3;
    params.top_p = 0.7f;  // Of what top_k left: 0.44 is not enough, 0.77 is.
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{1, 3}));
    params = {};
    params.temperature = 0.01f;
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{3}));
    params = {};
    params.forbidden = {3, 1};
    EXPECT_EQ(support(params, logits), (std::set<TokenId>{0, 2}));
    EXPECT_EQ(support({}, {kNan, 0, kNan}), (std::set<TokenId>{1}));
    params = {};
    params.top_k = 2;  // Ties go to the lower ids.
    EXPECT_EQ(support(params, {1, 1, 1, 1}), (std::set<TokenId>{0, 1}));
}

// Chi-square of `draws` tokens of one sequence against the given probabilities.
double chi_square(const SamplingParams& params, const std::vector<float>& logits,
                  const std::vector<double>& probabilities, int draws) {
    Sampler sampler(params, {});
    std::vector<int> counts(logits.size());
    for (int i = 0; i < draws; ++i) {
        std::vector<float> row = logits;
        ++counts[static_cast<std::size_t>(sampler.sample(row).id)];
    }
    double sum = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const double expected = probabilities[i] * draws;
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return sum;
}

TEST(Sampler, DrawsFollowTheDistribution) {
    constexpr int kIds = 20;
    Rng rng(7);
    std::vector<float> logits(kIds);
    for (float& x : logits) x = static_cast<float>(rng.uniform() * 4.0);
    for (const float temperature : {1.0f, 0.7f, 1.5f}) {
        std::vector<double> p(kIds);
        double sum = 0;
        for (int i = 0; i < kIds; ++i) {
            const auto at = static_cast<std::size_t>(i);
            sum += p[at] = std::exp(double{logits[at]} / temperature);
        }
        for (double& x : p) x /= sum;
        SamplingParams params;
        params.temperature = temperature;
        params.seed = 42;
        // 19 degrees of freedom: 43.8 is passed once in a thousand.
        EXPECT_LT(chi_square(params, logits, p, 50000), 43.8) << temperature;
    }
}

// top_p takes several rounds of partial sorting when the distribution is flat.
TEST(Sampler, TopPOnALargeFlatVocabulary) {
    std::vector<float> logits(5000);
    for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] = (i % 2 == 0 ? 0.0f : -0.5f) - 1e-6f * static_cast<float>(i);
    }
    SamplingParams params;
    params.top_p = 0.5f;  // The even half alone weighs 1 / (1 + e^-0.5) = 0.62 of all.
    const auto ids = support(params, logits, 500);
    EXPECT_GT(ids.size(), 300u);
    for (const TokenId id : ids) {
        EXPECT_EQ(id % 2, 0);
        EXPECT_LT(id, 4100);  // 0.5 / 0.62 of 5,000.
    }
}

TEST(Sampler, LogprobsAreOfTheUnmodifiedDistribution) {
    SamplingParams params = greedy();
    params.top_logprobs = 2;
    params.forbidden = {2};
    params.logit_bias = {{1, 1.0f}};
    params.temperature = 0.0f;
    const Sampled sampled = sample_once(params, {1, 2, 3});
    const double log_sum = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0));
    EXPECT_EQ(sampled.id, 1);
    EXPECT_NEAR(sampled.logprob, 2 - log_sum, 1e-6);
    ASSERT_EQ(sampled.top.size(), 2u);
    EXPECT_EQ(sampled.top[0].id, 2);
    EXPECT_NEAR(sampled.top[0].logprob, 3 - log_sum, 1e-6);
    EXPECT_EQ(sampled.top[1].id, 1);
    params.top_logprobs = 0;
    EXPECT_NEAR(sample_once(params, {1, 2, 3}).logprob, 2 - log_sum, 1e-6);
    EXPECT_TRUE(sample_once(params, {1, 2, 3}).top.empty());
    params.top_logprobs = 3;
    EXPECT_EQ(sample_once(params, {5, 5, kNan}).top.at(1).id, 1);
    params.top_logprobs = 20;
    EXPECT_EQ(sample_once(params, {1, 2, 3}).top.size(), 3u);
}

// Logits of step n of some model, the same for the same n.
std::vector<float> step_logits(int n) {
    Rng rng(static_cast<std::uint64_t>(n) + 1000);
    std::vector<float> logits(300);
    for (float& x : logits) x = static_cast<float>(rng.uniform() * 6.0);
    return logits;
}

TEST(Sampler, AForcedPrefixContinuesAsIfNeverInterrupted) {
    SamplingParams params;
    params.temperature = 0.9f;
    params.top_k = 50;
    params.top_p = 0.95f;
    params.min_p = 0.01f;
    params.repetition_penalty = 1.1f;
    params.presence_penalty = 0.3f;
    params.frequency_penalty = 0.2f;
    params.forbidden = {3};
    params.forbidden_tokens = 20;
    params.seed = 99;
    const std::vector<TokenId> prompt = {5, 6, 7};
    Sampler whole(params, prompt);
    std::vector<TokenId> reply;
    for (int n = 0; n < 40; ++n) {
        auto logits = step_logits(n);
        reply.push_back(whole.sample(logits).id);
    }
    for (const int cut : {0, 1, 13, 39}) {
        Sampler resumed(params, prompt);
        for (int n = 0; n < cut; ++n) resumed.accept(reply[static_cast<std::size_t>(n)]);
        for (int n = cut; n < 40; ++n) {
            auto logits = step_logits(n);
            ASSERT_EQ(resumed.sample(logits).id, reply[static_cast<std::size_t>(n)]) << cut;
        }
    }
    params.seed = 100;
    Sampler other(params, prompt);
    std::vector<TokenId> different;
    for (int n = 0; n < 40; ++n) {
        auto logits = step_logits(n);
        different.push_back(other.sample(logits).id);
    }
    EXPECT_NE(different, reply);
}

// Pinned: a seed keeps its replies over releases, compilers and machines.
TEST(Sampler, ASeedKeepsItsReply) {
    SamplingParams params;
    params.seed = 1;
    Sampler sampler(params, {});
    std::vector<TokenId> reply;
    for (int n = 0; n < 8; ++n) {
        auto logits = step_logits(n);
        reply.push_back(sampler.sample(logits).id);
    }
    EXPECT_EQ(reply, (std::vector<TokenId>{142, 10, 48, 286, 54, 16, 270, 222}));
}

}  // namespace
}  // namespace hearth::engine
