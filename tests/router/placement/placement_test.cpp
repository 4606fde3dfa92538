// Placement: shares, minimal movement, heirs, golden vectors, and the choice for one turn.
#include "router/placement/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "common/base/rng.h"

namespace hearth {
namespace {

constexpr std::size_t kKeys = 100'000;

std::vector<Seat> seats_of(const std::vector<std::string>& ids) {
    std::vector<Seat> seats;
    for (const std::string& id : ids) seats.push_back({node_hash(id), 1.0});
    return seats;
}

std::vector<SessionKey> random_keys(std::uint64_t seed) {
    Rng rng(seed);
    std::vector<SessionKey> keys(kKeys);
    for (SessionKey& key : keys) key = {rng.next(), rng.next()};
    return keys;
}

std::uint32_t home_of(const SessionKey& key, const std::vector<Seat>& seats) {
    return seat_order(key, seats).front();
}

// Worked out apart from this code, by tests/router/placement/placement_golden.py.
TEST(Placement, GoldenVectors) {
    EXPECT_EQ(node_hash("node-1"), 0x94a9d40986da123dULL);
    EXPECT_EQ(node_hash(""), 0xc3817c016ba4ff30ULL);
    const std::vector<Seat> seats = seats_of({"node-1", "node-2", "node-3", "node-4", "node-5"});
    struct Vector {
        SessionKey key;
        std::vector<std::uint32_t> order;
    };
    const Vector vectors[] = {
        {{0x0, 0x0}, {3, 2, 0, 4, 1}},
        {{0x1, 0x0}, {2, 1, 0, 3, 4}},
        {{0x0, 0x1}, {0, 3, 4, 1, 2}},
        {{0x123456789abcdef, 0xfedcba9876543210}, {0, 3, 4, 2, 1}},
        {{0xffffffffffffffff, 0xffffffffffffffff}, {0, 3, 4, 2, 1}},
    };
    for (const Vector& v : vectors) EXPECT_EQ(seat_order(v.key, seats), v.order) << v.key.hex();
    std::vector<Seat> weighted = seats;
    weighted[2].weight = 8;
    EXPECT_EQ(seat_order(vectors[0].key, weighted), (std::vector<std::uint32_t>{2, 3, 0, 4, 1}));
}

TEST(Placement, SharesFollowWeights) {
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::vector<Seat> seats = seats_of({"a", "b", "c", "d", "e", "f", "g", "h"});
    seats[1].weight = 2;
    seats[2].weight = 0.5;
    double total = 0;
    for (const Seat& seat : seats) total += seat.weight;
    std::vector<double> share(seats.size());
    for (const SessionKey& key : random_keys(seed)) share[home_of(key, seats)] += 1.0 / kKeys;
    // One node's count has a standard deviation below 0.0013 of the keys here.
    for (std::size_t i = 0; i < seats.size(); ++i)
        EXPECT_NEAR(share[i], seats[i].weight / total, 0.0075) << i;
}

TEST(Placement, EvenWithinTwoPercent) {
    // 4 nodes and 100,000 keys: one standard deviation of a share is 0.55 % of it.
    const std::vector<Seat> seats = seats_of({"node-1", "node-2", "node-3", "node-4"});
    std::vector<double> count(seats.size());
    for (const SessionKey& key : random_keys(7)) ++count[home_of(key, seats)];
    for (const double c : count) EXPECT_NEAR(c / (kKeys / 4.0), 1.0, 0.02);
}

TEST(Placement, ANewNodeTakesItsShareAndMovesNothingElse) {
    const std::vector<Seat> before = seats_of({"a", "b", "c", "d"});
    const std::vector<Seat> after = seats_of({"a", "b", "c", "d", "new"});
    std::size_t moved = 0;
    for (const SessionKey& key : random_keys(11)) {
        const std::uint32_t now = home_of(key, after);
        if (now == home_of(key, before)) continue;
        ASSERT_EQ(now, 4u);
        ++moved;
    }
    EXPECT_NEAR(static_cast<double>(moved), kKeys / 5.0, kKeys / 5.0 * 0.03);
}

TEST(Placement, ADeadNodesSessionsSplitEvenly) {
    const std::vector<Seat> seats = seats_of({"a", "b", "c", "d", "e"});
    std::map<std::uint32_t, double> heirs;
    double orphans = 0;
    for (const SessionKey& key : random_keys(13)) {
        const auto order = seat_order(key, seats);
        if (order[0] != 2) continue;
        ++heirs[order[1]];
        ++orphans;
    }
    ASSERT_EQ(heirs.size(), 4u);
    for (const auto& [node, count] : heirs) EXPECT_NEAR(count / orphans, 0.25, 0.015) << node;
}

TEST(Placement, OrderOfMembersMakesNoDifference) {
    const std::vector<std::string> ids = {"a", "b", "c", "d", "e", "f"};
    std::vector<std::string> shuffled = ids;
    std::mt19937 shuffle(3);
    const std::vector<Seat> seats = seats_of(ids);
    for (const SessionKey& key : random_keys(17)) {
        if (key.low % 64 == 0) std::shuffle(shuffled.begin(), shuffled.end(), shuffle);
        const auto a = seat_order(key, seats);
        const auto b = seat_order(key, seats_of(shuffled));
        for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(ids[a[i]], shuffled[b[i]]);
    }
}

struct Turn {
    Situation situation;
    std::vector<bool> usable;
    std::vector<double> load;
    std::optional<std::pair<std::uint32_t, Reason>> expected;
};

TEST(Choose, Table) {
    const std::vector<std::uint32_t> order = {2, 0, 1};  // Home is 2, the first heir 0.
    const std::vector<bool> all = {true, true, true};
    const Turn turns[] = {
        {{}, all, {0, 0, 9}, {{2, Reason::kHome}}},
        {{{}, false, true}, all, {0, 0, 0}, {{2, Reason::kHome}}},
        {{{}, false, true}, all, {1, 0, 1}, {{2, Reason::kHome}}},
        {{{}, false, true}, all, {1, 0, 2}, {{0, Reason::kHeir}}},
        {{{}, false, true}, {false, true, true}, {0, 0, 9}, {{2, Reason::kHome}}},
        {{{}, false, true}, {true, true, false}, {9, 0, 0}, {{0, Reason::kHeir}}},
        {{2, false, false}, all, {0, 0, 9}, {{2, Reason::kHome}}},
        {{1, false, false}, all, {0, 9, 0}, {{1, Reason::kBound}}},
        {{1, true, false}, all, {0, 9, 0}, {{1, Reason::kMoved}}},
        {{1, false, false}, {true, false, true}, {0, 0, 9}, {{2, Reason::kHome}}},
        {{1, false, false}, {true, false, false}, {0, 0, 0}, {{0, Reason::kHeir}}},
        {{}, {false, true, false}, {0, 0, 0}, {{1, Reason::kHeir}}},
        {{1, false, false}, {false, false, false}, {0, 0, 0}, std::nullopt},
    };
    for (std::size_t t = 0; t < std::size(turns); ++t) {
        const Turn& turn = turns[t];
        const auto choice = choose(
            order, turn.situation, [&](std::uint32_t i) { return turn.usable[i]; },
            [&](std::uint32_t i) { return turn.load[i]; });
        ASSERT_EQ(choice.has_value(), turn.expected.has_value()) << t;
        if (!choice) continue;
        EXPECT_EQ(choice->seat, turn.expected->first) << t;
        EXPECT_STREQ(to_string(choice->reason), to_string(turn.expected->second)) << t;
    }
    EXPECT_FALSE(choose(
        {}, {}, [](std::uint32_t) { return true; }, [](std::uint32_t) { return 0.0; }));
}

}  // namespace
}  // namespace hearth
