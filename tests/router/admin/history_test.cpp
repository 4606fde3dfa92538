// The last hour from counters of nodes that restart, come and go.
#include "router/admin/history.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

NodeRecord node(const std::string& id, const std::string& generation, std::int64_t reused,
                std::int64_t reusable) {
    NodeRecord record;
    record.node_id = id;
    record.generation = generation;
    record.state = NodeState::kReady;
    record.reused_tokens = reused;
    record.reusable_tokens = reusable;
    record.missed_tokens[1] = reusable - reused;
    return record;
}

class HitHistoryTest : public testing::Test {
  protected:
    void see(const std::vector<NodeRecord>& records) {
        now_ms_ += HitHistory::kIntervalMs;
        membership_.apply(records, now_ms_ * kMs);
        history_.note(*membership_.now(), now_ms_);
    }
    Membership membership_{std::vector<StaticNode>{}};
    HitHistory history_;
    std::int64_t now_ms_ = 1'000'000;
};

TEST_F(HitHistoryTest, SumsWhatWasCountedSince) {
    see({node("a", "1", 900, 1'000)});
    EXPECT_TRUE(history_.samples().empty()) << "what was counted before this router began";
    see({node("a", "1", 950, 1'100), node("b", "1", 10, 20)});
    ASSERT_EQ(history_.samples().size(), 1u);
    EXPECT_EQ(history_.samples()[0].reused, 50 + 10);
    EXPECT_EQ(history_.samples()[0].reusable, 100 + 20);
    EXPECT_EQ(history_.samples()[0].ceiling(), 100 + 20);
    EXPECT_EQ(history_.samples()[0].missed[1], 50 + 10);
    history_.note(*membership_.now(), now_ms_ + 1);
    EXPECT_EQ(history_.samples().size(), 1u) << "not before its time";
}

TEST(HitSample, TheCeilingIsOfAnInfiniteCache) {
    HitSample sample;
    sample.reusable = 1'000;
    sample.missed = {1, 2, 3, 4, 50, 6, 7, 8, 90};
    EXPECT_STREQ(kMissReasonNames[4], "salt");
    EXPECT_STREQ(kMissReasonNames[8], "declined");
    EXPECT_EQ(sample.ceiling(), 1'000 - 50 - 90);
}

TEST_F(HitHistoryTest, ARestartCountsFromZero) {
    see({node("a", "1", 900, 1'000)});
    see({node("a", "2", 30, 40)});
    EXPECT_EQ(history_.samples()[0].reused, 30);
    EXPECT_EQ(history_.samples()[0].missed[1], 10);
    see({node("a", "2", 20, 25)});  // The same generation, and less: its counters began anew.
    EXPECT_EQ(history_.samples()[1].reusable, 25);
}

TEST_F(HitHistoryTest, KeepsAnHour) {
    for (std::size_t i = 0; i < HitHistory::kSamplesMax + 10; ++i) {
        const auto tokens = static_cast<std::int64_t>(10 * i);
        see({node("a", "1", tokens, tokens)});
    }
    EXPECT_EQ(history_.samples().size(), HitHistory::kSamplesMax);
    EXPECT_EQ(history_.samples().back().reused, 10);
    EXPECT_EQ(history_.samples().front().at_ms + 359 * HitHistory::kIntervalMs,
              history_.samples().back().at_ms);
}

}  // namespace
}  // namespace hearth
