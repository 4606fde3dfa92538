// FairQueue: order by table, and a random run against what the rules promise.
#include "router/admission/fair_queue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <map>
#include <vector>

#include "common/base/clock.h"
#include "common/base/rng.h"

namespace hearth {
namespace {

using Ticket = FairQueue::Ticket;
constexpr Priority kInteractive = Priority::kInteractive;
constexpr Priority kBatch = Priority::kBatch;

std::vector<Ticket> drain(FairQueue& queue) {
    std::vector<Ticket> order;
    while (const auto next = queue.pop()) order.push_back(*next);
    return order;
}

TEST(FairQueue, OneFlowIsFirstComeFirstServed) {
    FairQueue queue(10);
    std::vector<Ticket> added;
    for (const std::uint64_t cost : {5, 200'000, 1, 70'000})
        added.push_back(*queue.add(1, kInteractive, cost));
    EXPECT_EQ(drain(queue), added);
    EXPECT_FALSE(queue.pop());
}

TEST(FairQueue, FlowsTakeTurns) {
    FairQueue queue(10);
    std::vector<Ticket> a, b;
    for (int i = 0; i < 3; ++i) a.push_back(*queue.add(1, kInteractive, FairQueue::kQuantum));
    for (int i = 0; i < 2; ++i) b.push_back(*queue.add(2, kInteractive, FairQueue::kQuantum));
    EXPECT_EQ(drain(queue), (std::vector<Ticket>{a[0], b[0], a[1], b[1], a[2]}));
}

TEST(FairQueue, ALongPromptCountsAsManyShortOnes) {
    FairQueue queue(100);
    const Ticket big = *queue.add(1, kInteractive, 4 * FairQueue::kQuantum);
    std::vector<Ticket> small;
    for (int i = 0; i < 8; ++i)
        small.push_back(*queue.add(2, kInteractive, FairQueue::kQuantum / 2));
    const std::vector<Ticket> order = drain(queue);
    const auto at = std::find(order.begin(), order.end(), big) - order.begin();
    EXPECT_EQ(at, 6);  // Three rounds of two short ones each, then its credit is enough.
}

TEST(FairQueue, InteractiveFirstButBatchIsNotStarved) {
    FairQueue queue(100);
    std::vector<Ticket> batch;
    for (int i = 0; i < 3; ++i) batch.push_back(*queue.add(1, kBatch, 1));
    for (int i = 0; i < 20; ++i) (void)queue.add(2, kInteractive, 1);
    const std::vector<Ticket> order = drain(queue);
    EXPECT_EQ(order[7], batch[0]);
    EXPECT_EQ(order[15], batch[1]);
    EXPECT_EQ(order[22], batch[2]);
}

TEST(FairQueue, IsBoundedAndAnyoneMayLeave) {
    FairQueue queue(2);
    const Ticket one = *queue.add(1, kInteractive, 1);
    const Ticket two = *queue.add(1, kBatch, 1);
    EXPECT_FALSE(queue.add(1, kInteractive, 1));
    EXPECT_TRUE(queue.remove(one));
    EXPECT_FALSE(queue.remove(one));
    EXPECT_EQ(queue.size(kInteractive), 0u);
    EXPECT_TRUE(queue.add(3, kInteractive, 1));
    EXPECT_NE(queue.pop(), two);
    EXPECT_EQ(queue.pop(), two);
    EXPECT_FALSE(queue.remove(two));
    FairQueue none(0);
    EXPECT_FALSE(none.add(1, kInteractive, 1));
}

// The queue as its promise says, kept in the plainest form.
struct Model {
    struct Entry {
        Ticket ticket;
        std::uint64_t cost;
    };
    std::map<std::pair<Priority, std::size_t>, std::deque<Entry>> flows;
    std::size_t size = 0;

    std::size_t waiting(Priority priority) const {
        std::size_t n = 0;
        for (const auto& [key, entries] : flows)
            if (key.first == priority) n += entries.size();
        return n;
    }
};

// Adds, leaves and pops at random: nobody is lost or served twice, a flow keeps its order, and the
// two priorities share as stated.
TEST(FairQueue, RandomRunAgainstAModel) {
    const auto seed = static_cast<std::uint64_t>(SystemClock::instance().unix_now());
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    constexpr std::size_t kBound = 60;
    FairQueue queue(kBound);
    Model model;
    int run = 0;  // Interactive places in a row while batch work waited.
    for (int step = 0; step < 40'000; ++step) {
        const std::uint64_t what = rng.below(10);
        if (what < 5) {
            const Priority priority = rng.below(3) == 0 ? kBatch : kInteractive;
            const std::size_t flow = rng.below(6);
            const std::uint64_t cost = 1 + rng.below(FairQueue::kCostMax * 2);
            const auto ticket = queue.add(flow, priority, cost);
            ASSERT_EQ(ticket.has_value(), model.size < kBound);
            if (!ticket) continue;
            model.flows[{priority, flow}].push_back({*ticket, cost});
            ++model.size;
        } else if (what < 6 && model.size > 0) {
            auto at = model.flows.begin();
            std::advance(at, static_cast<std::ptrdiff_t>(rng.below(model.flows.size())));
            if (at->second.empty()) continue;
            const std::size_t place = rng.below(at->second.size());
            ASSERT_TRUE(queue.remove(at->second[place].ticket));
            at->second.erase(at->second.begin() + static_cast<std::ptrdiff_t>(place));
            --model.size;
        } else {
            const std::size_t batch = model.waiting(kBatch);
            const std::size_t interactive = model.size - batch;
            const auto ticket = queue.pop();
            ASSERT_EQ(ticket.has_value(), model.size > 0);
            if (!ticket) continue;
            std::optional<Priority> served;
            for (auto& [key, entries] : model.flows) {
                if (entries.empty() || entries.front().ticket != *ticket) continue;
                entries.pop_front();
                served = key.first;
            }
            ASSERT_TRUE(served.has_value()) << "not the first of any flow";
            --model.size;
            const bool due = run + 1 >= FairQueue::kBatchEvery;
            const bool expect_batch = batch > 0 && (interactive == 0 || due);
            ASSERT_EQ(*served, expect_batch ? kBatch : kInteractive);
            run = batch > 0 && !expect_batch ? run + 1 : 0;
        }
        ASSERT_EQ(queue.size(), model.size);
        ASSERT_EQ(queue.size(kBatch), model.waiting(kBatch));
    }
}

// Flows that always wait get the same number of tokens, whatever the size of their prompts: the
// bound is the one of deficit round robin, a quantum and the largest entry.
TEST(FairQueue, BackloggedFlowsGetEqualTokens) {
    Rng rng(11);
    constexpr std::size_t kFlows = 4;
    FairQueue queue(1'000);
    std::map<Ticket, std::pair<std::size_t, std::uint64_t>> entries;
    const auto add = [&](std::size_t flow) {
        // Flow 0 sends short prompts, flow 3 long ones.
        const std::uint64_t cost = 1 + rng.below(FairQueue::kCostMax >> (3 * (kFlows - 1 - flow)));
        entries[*queue.add(flow, kInteractive, cost)] = {flow, cost};
    };
    for (std::size_t flow = 0; flow < kFlows; ++flow)
        for (int i = 0; i < 3; ++i) add(flow);
    std::array<double, kFlows> served{};
    for (int i = 0; i < 50'000; ++i) {
        const auto [flow, cost] = entries.at(*queue.pop());
        served[flow] += static_cast<double>(cost);
        add(flow);
        const auto [least, most] = std::minmax_element(served.begin(), served.end());
        ASSERT_LE(*most - *least,
                  static_cast<double>(FairQueue::kQuantum + FairQueue::kCostMax) * 2)
            << "after " << i;
    }
    EXPECT_GT(served[0], 1e6);
}

}  // namespace
}  // namespace hearth
