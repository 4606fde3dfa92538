// Sequences over a tier: every byte that the engine would read is the right one, whatever happens.
#include "cachenode/scheduler/sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "common/base/rng.h"

namespace hearth {
namespace {

using engine::TokenId;
using Ids = std::vector<TokenId>;

constexpr std::size_t kSlot = sizeof(std::uint64_t);
constexpr std::size_t kPageBytes = engine::kPageTokens * kSlot;

// Stands in for the engine: a slot of a page holds a hash of its token and all before it.
void compute(Sequence& sequence, std::int32_t count) {
    const engine::Slice slice = sequence.next(count);
    const auto tokens = sequence.tokens();
    const std::int32_t end = slice.start + count;
    std::uint64_t hash = 0;
    for (std::int32_t i = 0; i < end; ++i) {
        hash = mix64(hash ^ static_cast<std::uint64_t>(tokens[static_cast<std::size_t>(i)]));
        std::byte* const slot = slice.pages[static_cast<std::size_t>(i / engine::kPageTokens)] +
                                static_cast<std::size_t>(i % engine::kPageTokens) * kSlot;
        if (i >= slice.start) {
            std::memcpy(slot, &hash, kSlot);
        } else {
            ASSERT_EQ(std::memcmp(slot, &hash, kSlot), 0) << "token " << i << " of " << end;
        }
    }
    sequence.advance(count, {});
}

SequenceSpec spec_of(Ids tokens, std::int64_t grows = 0) {
    SequenceSpec spec;
    spec.tokens_max = std::ssize(tokens) + grows;
    spec.reuse_max = std::ssize(tokens) - 1;
    spec.tokens = std::move(tokens);
    return spec;
}

std::unique_ptr<Sequence> admit(DeviceTier& tier, SequenceSpec spec) {
    return Sequence::admit(tier, spec);
}

TEST(Sequence, ComputesOnceAndIsFoundAgain) {
    DeviceTier tier(kPageBytes, 20 * kPageBytes, 1);
    auto first = admit(tier, spec_of(Ids(150, 4), 10));
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->reused(), 0);
    compute(*first, 100);
    EXPECT_EQ(tier.tree().pages(), 1);  // Whole pages are found by others at once.
    compute(*first, 50);
    first->append(5);
    EXPECT_EQ(first->pending(), 1);
    compute(*first, 1);
    first->store_tail({});
    first.reset();
    EXPECT_EQ(tier.pool().pages_used(), 3);
    EXPECT_EQ(tier.pages_promised(), 0);
    Ids longer(150, 4);
    longer.insert(longer.end(), {5, 6});
    auto second = admit(tier, spec_of(longer));
    EXPECT_EQ(second->reused(), 151);
    compute(*second, 1);
}

TEST(Sequence, IsRefusedWithoutRoomAndTheSpecSurvives) {
    DeviceTier tier(kPageBytes, 3 * kPageBytes, 1);
    auto first = admit(tier, spec_of(Ids(10, 1), 100));
    ASSERT_NE(first, nullptr);
    SequenceSpec spec = spec_of(Ids(10, 2), 100);
    EXPECT_EQ(Sequence::admit(tier, spec), nullptr);
    EXPECT_EQ(spec.tokens, Ids(10, 2));
    first.reset();
    EXPECT_NE(Sequence::admit(tier, spec), nullptr);
}

TEST(Sequence, GivesUpATailWhenItsPageIsTheOneThatIsLacking) {
    DeviceTier tier(kPageBytes, 2 * kPageBytes, 1);
    auto first = admit(tier, spec_of(Ids(100, 1)));
    compute(*first, 100);
    first->store_tail({});
    first.reset();
    Ids other(90, 1);
    other.resize(128, 2);
    auto second = admit(tier, spec_of(other));
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(second->reused(), 64);
    compute(*second, 64);
}

TEST(Sequence, TwoThatComputeTheSamePagesEndUpSharingThem) {
    DeviceTier tier(kPageBytes, 20 * kPageBytes, 1);
    auto a = admit(tier, spec_of(Ids(200, 7)));
    auto b = admit(tier, spec_of(Ids(200, 7)));
    compute(*a, 130);
    compute(*b, 150);
    EXPECT_EQ(tier.pool().pages_used(), 2 + 2);  // Two shared, one of its own each.
    compute(*a, 70);
    compute(*b, 50);
    EXPECT_EQ(tier.pool().pages_used(), 3 + 2);
}

TEST(Sequence, WithoutCacheWriteNothingStays) {
    DeviceTier tier(kPageBytes, 20 * kPageBytes, 1);
    SequenceSpec spec = spec_of(Ids(200, 7));
    spec.cache_write = false;
    auto sequence = Sequence::admit(tier, spec);
    compute(*sequence, 200);
    sequence->store_tail({});
    sequence.reset();
    EXPECT_EQ(tier.pool().pages_used(), 0);
}

// Random sequences that share prefixes, several alive at once, some cut off.
class RandomSequences {
  public:
    RandomSequences(std::uint64_t seed, std::int64_t pages)
        : rng_(seed),
          is_ample_(pages > 1'000),
          tier_(kPageBytes, pages * static_cast<std::int64_t>(kPageBytes), seed) {}

    void run(int operations) {
        for (int i = 0; i < operations; ++i) {
            if (alive_.size() < 4 && rng_.below(3) == 0) {
                begin();
            } else if (!alive_.empty()) {
                go_on(rng_.below(alive_.size()));
            }
            tier_.tree().check();
            ASSERT_LE(tier_.pages_promised(),
                      tier_.pool().pages_free() + tier_.tree().pages_evictable());
        }
        alive_.clear();
        ASSERT_EQ(tier_.pool().pages_used(), tier_.tree().pages());
        ASSERT_EQ(tier_.tree().pages_evictable(), tier_.tree().pages());
        ASSERT_EQ(tier_.pages_promised(), 0);
    }
    std::int64_t evicted() const { return tier_.tree().pages_evicted(); }
    std::int64_t reused() const { return reused_; }

  private:
    struct Alive {
        std::unique_ptr<Sequence> sequence;
        std::int64_t tokens_max = 0;
    };

    void begin() {
        Ids tokens;
        if (!past_.empty()) {
            const Ids& base = past_[rng_.below(past_.size())];
            tokens.assign(base.begin(),
                          base.begin() + static_cast<std::ptrdiff_t>(rng_.below(base.size() + 1)));
        }
        for (std::uint64_t n = 1 + rng_.below(90); n > 0; --n) tokens.push_back(random_token());
        if (tokens.size() > 400) tokens.resize(400);
        SequenceSpec spec = spec_of(tokens, static_cast<std::int64_t>(rng_.below(100)));
        const std::int64_t tokens_max = spec.tokens_max;
        auto sequence = Sequence::admit(tier_, spec);
        if (sequence == nullptr) return;
        std::int64_t best = 0;
        const auto consider = [&](std::span<const TokenId> other) {
            const auto ends =
                std::mismatch(tokens.begin(), tokens.end(), other.begin(), other.end());
            best = std::max<std::int64_t>(best, ends.first - tokens.begin());
        };
        for (const Ids& other : past_) consider(other);
        for (const Alive& other : alive_) {
            const auto whole =
                other.sequence->computed() / engine::kPageTokens * engine::kPageTokens;
            consider(other.sequence->tokens().first(static_cast<std::size_t>(whole)));
        }
        best = std::min(best, std::ssize(tokens) - 1);
        ASSERT_LE(sequence->reused(), best);
        if (is_ample_) {
            ASSERT_GE(sequence->reused(), best);
        }
        reused_ += sequence->reused();
        alive_.push_back({std::move(sequence), tokens_max});
    }

    void go_on(std::size_t at) {
        Sequence& sequence = *alive_[at].sequence;
        if (sequence.pending() > 0) {
            const auto most = static_cast<std::uint64_t>(
                std::min<std::int64_t>(sequence.pending(), rng_.below(2) == 0 ? 3 : 200));
            compute(sequence, 1 + static_cast<std::int32_t>(rng_.below(most)));
        } else if (std::ssize(sequence.tokens()) < alive_[at].tokens_max && rng_.below(20) > 0) {
            sequence.append(random_token());
            return;
        }
        const bool is_done = sequence.pending() == 0 && rng_.below(8) == 0;
        if (!is_done && rng_.below(60) > 0) return;
        sequence.store_tail({});
        const auto computed = static_cast<std::size_t>(sequence.computed());
        const auto tokens = sequence.tokens().first(computed);
        if (!tokens.empty()) past_.emplace_back(tokens.begin(), tokens.end());
        alive_.erase(alive_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    TokenId random_token() { return static_cast<TokenId>(rng_.below(3)); }

    Rng rng_;
    bool is_ample_;
    DeviceTier tier_;
    std::vector<Alive> alive_;
    std::vector<Ids> past_;  // Everything that was stored.
    std::int64_t reused_ = 0;
};

TEST(Sequence, RandomSequencesReuseAllThatIsStored) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomSequences ample(seed, 20'000);
        ample.run(4'000);
        EXPECT_EQ(ample.evicted(), 0);
        EXPECT_GT(ample.reused(), 4'000);
    }
}

TEST(Sequence, RandomSequencesNeverReadAWrongByteUnderPressure) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomSequences tight(seed, 9 + static_cast<std::int64_t>(seed));
        tight.run(1'500);
        EXPECT_GT(tight.evicted(), 20);
        EXPECT_GT(tight.reused(), 500);
    }
}

}  // namespace
}  // namespace hearth
