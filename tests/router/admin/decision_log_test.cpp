// The log of past turns against a plain model, and its bounds.
#include "router/admin/decision_log.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "common/base/rng.h"

namespace hearth {
namespace {

PastTurn turn(std::int64_t number) {
    PastTurn turn;
    turn.at = number;
    return turn;
}

TEST(DecisionLogTest, AgreesWithAPlainModel) {
    constexpr std::size_t kSessions = 5;
    constexpr std::uint64_t kSeed = 11;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    DecisionLog log(kSessions);
    std::deque<std::uint64_t> order;  // Most recent first.
    std::map<std::uint64_t, std::vector<std::int64_t>> model;
    for (std::int64_t step = 0; step < 5'000; ++step) {
        const std::uint64_t id = rng.next() % 9;
        log.add({id, id}, turn(step));
        std::erase(order, id);
        order.push_front(id);
        model[id].push_back(step);
        if (order.size() > kSessions) {
            model.erase(order.back());
            order.pop_back();
        }
        ASSERT_EQ(log.size(), order.size());
        for (std::uint64_t each = 0; each < 9; ++each) {
            const auto known = model.find(each);
            std::vector<std::int64_t> wanted;
            if (known != model.end()) wanted = known->second;
            if (wanted.size() > DecisionLog::kTurnsKept)
                wanted.erase(wanted.begin(), wanted.end() - DecisionLog::kTurnsKept);
            std::vector<std::int64_t> got;
            for (const PastTurn& past : log.find({each, each})) got.push_back(past.at);
            ASSERT_EQ(got, wanted) << "session " << each << " at step " << step;
        }
    }
}

TEST(DecisionLogTest, OfNoSessionsKeepsNothing) {
    DecisionLog log(0);
    log.add({1, 1}, turn(1));
    EXPECT_EQ(log.size(), 0u);
    EXPECT_TRUE(log.find({1, 1}).empty());
}

}  // namespace
}  // namespace hearth
