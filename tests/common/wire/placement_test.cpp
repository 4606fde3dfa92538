// Placement: shares, minimal movement, heirs, golden vectors, and the search for the best few.
#include "common/wire/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

std::vector<Seat> numbered(std::size_t count) {
    std::vector<Seat> seats;
    for (std::size_t n = 1; n <= count; ++n)
        seats.push_back({node_hash("node-" + std::to_string(n)), 1.0});
    return seats;
}

std::vector<SessionKey> random_keys(std::uint64_t seed, std::size_t count = kKeys) {
    Rng rng(seed);
    std::vector<SessionKey> keys(count);
    for (SessionKey& key : keys) key = {rng.next(), rng.next()};
    return keys;
}

std::uint32_t home_of(const SessionKey& key, const SeatTable& table) {
    return table.top(key, 1).seats[0];
}

// Worked out apart from this code, by tests/common/wire/placement_golden.py.
TEST(Placement, GoldenVectors) {
    EXPECT_EQ(node_hash("node-1"), 0x94a9d40986da123dULL);
    EXPECT_EQ(node_hash(""), 0xc3817c016ba4ff30ULL);
    const std::vector<Seat> seats = numbered(5);
    struct Vector {
        SessionKey key;
        std::vector<std::uint32_t> order;
    };
    const Vector vectors[] = {
        {{0x0, 0x0}, {1, 4, 3, 2, 0}},
        {{0x1, 0x0}, {2, 1, 3, 4, 0}},
        {{0x0, 0x1}, {1, 0, 4, 2, 3}},
        {{0x123456789abcdef, 0xfedcba9876543210}, {3, 0, 4, 1, 2}},
        {{0xffffffffffffffff, 0xffffffffffffffff}, {3, 0, 2, 4, 1}},
    };
    for (const Vector& v : vectors)
        EXPECT_EQ(SeatTable(seats).order(v.key), v.order) << v.key.hex();
    std::vector<Seat> weighted = seats;
    weighted[2].weight = 8;
    EXPECT_EQ(SeatTable(weighted).order({0, 0}), (std::vector<std::uint32_t>{2, 1, 4, 3, 0}));
    for (std::size_t i = 0; i < 5; ++i) weighted[i].weight = 0.5 * static_cast<double>(i + 1);
    EXPECT_EQ(SeatTable(weighted).order({1, 2}), (std::vector<std::uint32_t>{3, 4, 1, 2, 0}));
}

// The slow reference: every score, sorted.
std::vector<std::uint32_t> by_score(const SessionKey& key, const std::vector<Seat>& seats) {
    std::vector<std::uint32_t> order(seats.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return seat_score(key, seats[a]) > seat_score(key, seats[b]);
    });
    return order;
}

TEST(Placement, TheBestFewAreThoseOfTheSortedScores) {
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    for (int round = 0; round < 3'000; ++round) {
        std::vector<Seat> seats(1 + rng.below(40));
        const std::uint64_t kinds = 1 + rng.below(8);  // Of weights.
        for (Seat& seat : seats)
            seat = {rng.next(), 0.01 * static_cast<double>(1 + rng.below(kinds) * 117)};
        const SessionKey key{rng.next(), rng.next()};
        const SeatTable table(seats);
        const std::vector<std::uint32_t> expected = by_score(key, seats);
        ASSERT_EQ(table.order(key), expected);
        const std::size_t k = 1 + rng.below(SeatTable::kTopMax);
        const SeatTable::Top top = table.top(key, k);
        ASSERT_EQ(top.count, std::min(k, seats.size()));
        for (std::size_t i = 0; i < top.count; ++i) ASSERT_EQ(top.seats[i], expected[i]);
        SessionOrder order(table, key);
        for (std::size_t i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], expected[i]);
    }
    EXPECT_EQ(SeatTable().top({1, 2}, 2).count, 0u);
}

TEST(Placement, SharesWithinTwoPercentOfTheirWeights) {
    // 100,000 keys on 4 nodes: one standard deviation is 0.55 % of a share of 1/4 and 0.75 % of one
    // of 1/6, so the keys are fixed. What an arbitrary fleet does is the next test's.
    const std::vector<std::vector<double>> fleets = {{1, 1, 1, 1}, {2, 1, 1, 2}};
    for (const std::vector<double>& weights : fleets) {
        std::vector<Seat> seats = numbered(4);
        double total = 0;
        for (std::size_t i = 0; i < 4; ++i) total += seats[i].weight = weights[i];
        const SeatTable table(seats);
        std::vector<double> count(4);
        for (const SessionKey& key : random_keys(8)) ++count[home_of(key, table)];
        for (std::size_t i = 0; i < 4; ++i)
            EXPECT_NEAR(count[i] / (kKeys * weights[i] / total), 1.0, 0.02) << i;
    }
}

TEST(Placement, SharesFollowWeights) {
    // Any seed, any size: the counts differ from the weights by chance alone. The bound is 6.5
    // standard deviations of chi-square.
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    for (const std::size_t nodes : {3u, 8u, 50u}) {
        std::vector<Seat> seats = numbered(nodes);
        double total = 0;
        for (Seat& seat : seats) total += seat.weight = 0.5 * static_cast<double>(1 + rng.below(6));
        const SeatTable table(seats);
        std::vector<double> count(nodes);
        for (const SessionKey& key : random_keys(rng.next())) ++count[home_of(key, table)];
        double chi = 0;
        for (std::size_t i = 0; i < nodes; ++i) {
            const double expected = kKeys * seats[i].weight / total;
            chi += (count[i] - expected) * (count[i] - expected) / expected;
        }
        const auto freedom = static_cast<double>(nodes - 1);
        EXPECT_LT(chi, freedom + 6.5 * std::sqrt(2 * freedom) + 20) << nodes;
    }
}

TEST(Placement, AMemberMoreOrLessMovesItsShareAndNothingElse) {
    for (const std::size_t nodes : {5u, 10u, 50u}) {
        const std::vector<Seat> all = numbered(nodes);
        const SeatTable after(all), before({all.begin(), all.end() - 1});
        double moved = 0;
        for (const SessionKey& key : random_keys(11)) {
            const std::uint32_t then = home_of(key, before), now = home_of(key, after);
            // The same two tables read the other way round are the removal of that node.
            if (now == then) continue;
            ASSERT_EQ(now, nodes - 1);
            ++moved;
        }
        EXPECT_NEAR(moved / kKeys, 1.0 / static_cast<double>(nodes), 0.01) << nodes;
    }
}

TEST(Placement, AReweighedMemberTakesOrGivesAndTheOthersKeep) {
    std::vector<Seat> seats = numbered(6);
    const SeatTable before(seats);
    seats[2].weight = 2;
    const SeatTable after(seats);
    for (const SessionKey& key : random_keys(19)) {
        const std::uint32_t then = home_of(key, before), now = home_of(key, after);
        ASSERT_TRUE(now == then || now == 2);
    }
}

TEST(Placement, ADeadNodesSessionsSplitEvenly) {
    constexpr std::size_t kNodes = 20;
    const SeatTable table(numbered(kNodes));
    std::vector<double> heirs(kNodes), second(kNodes);
    double orphans = 0, twice = 0;
    for (const SessionKey& key : random_keys(13, 10 * kKeys)) {
        const SeatTable::Top top = table.top(key, 3);
        if (top.seats[0] != 2) continue;
        ++heirs[top.seats[1]];
        ++orphans;
        if (top.seats[1] != 3) continue;
        ++second[top.seats[2]];
        ++twice;
    }
    // 50,000 orphans on 19 heirs: one standard deviation is 2 % of a fair part; of the heirs' heirs
    // there are 2,600 on 18, so theirs is 8 %.
    for (std::size_t i = 0; i < kNodes; ++i) {
        if (i == 2) continue;
        EXPECT_LT(heirs[i], 1.2 * orphans / (kNodes - 1)) << i;
        EXPECT_GT(heirs[i], 0.8 * orphans / (kNodes - 1)) << i;
        if (i == 3) continue;
        EXPECT_NEAR(second[i] / (twice / (kNodes - 2)), 1, 0.4) << i;
    }
}

TEST(Placement, OrderOfMembersMakesNoDifference) {
    const std::vector<std::string> ids = {"a", "b", "c", "d", "e", "f"};
    std::vector<std::string> shuffled = ids;
    std::mt19937 shuffle(3);
    const SeatTable table(seats_of(ids));
    SeatTable other = table;
    for (const SessionKey& key : random_keys(17)) {
        if (key.low % 64 == 0) {
            std::shuffle(shuffled.begin(), shuffled.end(), shuffle);
            other = SeatTable(seats_of(shuffled));
        }
        const auto a = table.order(key), b = other.order(key);
        for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(ids[a[i]], shuffled[b[i]]);
    }
}

}  // namespace
}  // namespace hearth
