// Ejection, half-open circuits, panic and slow start, by a clock that only moves when told.
#include "router/members/health.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace hearth {
namespace {

using Circuit = NodeStatus::Circuit;

std::vector<StaticNode> nodes(int count) {
    std::vector<StaticNode> out;
    for (int n = 0; n < count; ++n) out.push_back({"n" + std::to_string(n), "127.0.0.1:1"});
    return out;
}

TEST(Ejection, FailuresInARowEjectAndEachTimeLasts) {
    HealthRules rules;
    rules.eject_max = 4 * rules.eject;
    NodeStatus status;
    MonotonicNs now = kSecond;
    for (int n = 1; n < rules.eject_failures; ++n)
        EXPECT_FALSE(note_turn_end(status, Verdict::kServerError, rules, now));
    EXPECT_FALSE(note_turn_end(status, Verdict::kGood, rules, now)) << "one good turn forgives";
    for (int n = 1; n < rules.eject_failures; ++n)
        EXPECT_FALSE(note_turn_end(status, Verdict::kTimeout, rules, now));
    EXPECT_FALSE(note_turn_end(status, Verdict::kNone, rules, now)) << "says nothing";
    EXPECT_TRUE(note_turn_end(status, Verdict::kDied, rules, now));
    for (const int times : {1, 2, 4, 4}) {
        eject(status, Verdict::kDied, rules, now);
        EXPECT_EQ(status.eject_reason, "died");
        EXPECT_FALSE(status.usable());
        note_time(status, rules, now + times * rules.eject - 1);
        EXPECT_EQ(status.circuit, Circuit::kOpen) << times;
        now += times * rules.eject;
        note_time(status, rules, now);
        EXPECT_EQ(status.circuit, Circuit::kHalfOpen) << times;
        EXPECT_TRUE(status.usable());
        note_turn_start(status);
        EXPECT_FALSE(status.usable()) << "one trial at a time";
        EXPECT_TRUE(note_turn_end(status, Verdict::kServerError, rules, now));
    }
}

TEST(Ejection, ATrialThatSucceedsClosesAndOneThatIsCancelledIsGivenBack) {
    HealthRules rules;
    NodeStatus status;
    eject(status, Verdict::kTimeout, rules, kSecond);
    note_time(status, rules, kSecond + rules.eject);
    note_turn_start(status);
    EXPECT_FALSE(note_turn_end(status, Verdict::kNone, rules, kSecond + rules.eject));
    EXPECT_EQ(status.circuit, Circuit::kHalfOpen);
    EXPECT_TRUE(status.usable());
    note_turn_start(status);
    EXPECT_FALSE(note_turn_end(status, Verdict::kGood, rules, kSecond + rules.eject));
    EXPECT_EQ(status.circuit, Circuit::kClosed);
    EXPECT_EQ(status.ejections, 1) << "remembered for a while";
    note_turn_end(status, Verdict::kGood, rules, kSecond + 2 * rules.eject);
    EXPECT_EQ(status.ejections, 0);
}

TEST(Ejection, AtMostAShareOfThePool) {
    const HealthRules rules;
    const std::pair<int, int> most[] = {{1, 0}, {2, 1}, {3, 1}, {4, 2}, {10, 5}};
    for (const auto& [size, expected] : most) {
        const auto pool = Membership(nodes(size)).now();
        int ejected = 0;
        while (ejected < size && may_eject(*pool, rules))
            eject(*pool->members[static_cast<std::size_t>(ejected++)].status, Verdict::kDied, rules,
                  kSecond);
        EXPECT_EQ(ejected, expected) << size;
    }
}

TEST(Panic, BelowHalfAllThatTakeConnectionsAreUsed) {
    const HealthRules rules;
    const auto pool = Membership(nodes(5)).now();
    const auto status = [&](std::size_t n) -> NodeStatus& { return *pool->members[n].status; };
    eject(status(0), Verdict::kDied, rules, kSecond);
    for (int n = 0; n < rules.probe_failures; ++n) note_probe(status(1), Probe::kFailed);
    EXPECT_FALSE(note_panic(*pool, rules));
    EXPECT_FALSE(status(0).usable());
    note_connect_failure(status(2));
    EXPECT_TRUE(note_panic(*pool, rules));
    EXPECT_FALSE(note_panic(*pool, rules));
    EXPECT_TRUE(status(0).usable());
    EXPECT_TRUE(status(1).usable());
    EXPECT_FALSE(status(2).usable()) << "nobody listens there";
    note_probe(status(2), Probe::kPassed);
    EXPECT_TRUE(note_panic(*pool, rules));
    EXPECT_FALSE(status(0).usable());
}

TEST(SlowStart, OnlyTheLoadSeemsHigherNeverTheHash) {
    HealthRules rules;
    rules.slow_start = 10 * kSecond;
    Membership membership({}, {}, rules);
    NodeRecord record;
    record.state = NodeState::kReady;
    record.node_id = "old";
    membership.apply({record}, kSecond);
    // Nodes that start together have nobody to be slower than, whoever registers first.
    NodeRecord twin = record;
    twin.node_id = "twin";
    membership.apply({record, twin}, 2 * kSecond);
    EXPECT_EQ(membership.now()->find("twin")->load(), 0);
    NodeRecord young = record;
    young.node_id = "young";
    membership.apply({record, twin, young}, 20 * kSecond);
    const auto members = membership.now();
    const Member& joined = *members->find("young");
    EXPECT_EQ(members->find("old")->load(), 0);
    EXPECT_EQ(members->seats[2].weight, 1.0);
    double before = 100;
    for (int s = 21; s <= 30; ++s) {
        note_time(*joined.status, rules, s * kSecond);
        EXPECT_LT(joined.load(), before);
        before = joined.load();
    }
    EXPECT_EQ(before, 0);
}

// Whatever happens, a node comes back once it serves well and time goes by.
TEST(Health, ARandomPastIsForgiven) {
    const std::uint64_t seed = 20260701;
    Rng rng(seed);
    const HealthRules rules;
    for (int run = 0; run < 200; ++run) {
        NodeStatus status;
        MonotonicNs now = kSecond;
        for (int step = 0; step < 300; ++step) {
            now += static_cast<MonotonicNs>(rng.next() % (2 * kSecond));
            note_time(status, rules, now);
            const auto verdict = static_cast<Verdict>(rng.next() % 6);
            if (rng.next() % 3 == 0) note_probe(status, static_cast<Probe>(rng.next() % 3));
            if (!status.usable()) continue;
            note_turn_start(status);
            if (note_turn_end(status, verdict, rules, now)) eject(status, verdict, rules, now);
            ASSERT_FALSE(status.trial) << "seed " << seed;
        }
        note_probe(status, Probe::kPassed);
        note_time(status, rules, now + rules.eject_max);
        ASSERT_TRUE(status.usable()) << "seed " << seed;
    }
}

}  // namespace
}  // namespace hearth
