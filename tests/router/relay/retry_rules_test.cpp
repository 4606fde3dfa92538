// Retries and deadlines: which turn is sent twice, how many of them, and until when it is tried.
#include <algorithm>
#include <numeric>

#include "router/relay/deadline.h"
#include "router/relay/retry_budget.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

TEST(RetryBudget, IsAShareOfTheRequestsAndABurst) {
    RetryBudget budget;
    EXPECT_FALSE(budget.left());
    budget.request(20, 3);
    int burst = 0;
    for (; budget.left(); ++burst) budget.spend();
    EXPECT_EQ(burst, 3);
    int retries = 0;
    for (int request = 0; request < 1'000; ++request) {
        budget.request(20, 3);
        for (; budget.left(); ++retries) budget.spend();
    }
    EXPECT_EQ(retries, 200);
    budget.request(20, 0);
    EXPECT_FALSE(budget.left()) << "a smaller setting counts at once";
}

Result<MonotonicNs> deadline(std::vector<HeaderField> fields) {
    RequestHead head;
    head.fields = std::move(fields);
    return deadline_of(head, 5 * kSecond);
}

TEST(Deadline, ReadsBothHeaders) {
    EXPECT_EQ(*deadline({}), 0);
    EXPECT_EQ(*deadline({{"hearth-deadline", "250"}}), 5 * kSecond + 250 * kMs);
    EXPECT_EQ(*deadline({{"x-request-timeout", "1.5"}}), 5 * kSecond + 1'500 * kMs);
    EXPECT_EQ(*deadline({{"x-request-timeout", "1"}, {"hearth-deadline", "2000"}}), 6 * kSecond);
    EXPECT_EQ(*deadline({{"x-request-timeout", "99999999"}}), 0);
    for (const char* bad : {"x", "-1", "1s", "nan", "1e3", " 1"}) {
        const auto read = deadline({{"x-request-timeout", bad}});
        ASSERT_FALSE(read.ok()) << bad;
        EXPECT_NE(read.error().message.find("x-request-timeout"), std::string::npos);
    }
}

class RetryRulesTest : public RouterTest {
  protected:
    // Every node takes the whole request and dies.
    void all_die() {
        for (const auto& node : nodes_)
            node->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
                exchange.abort();
                co_return;
            };
    }
    long nodes_reached() const {
        return std::count_if(nodes_.begin(), nodes_.end(),
                             [](const auto& node) { return !node->turns.empty(); });
    }
    std::size_t turns() const {
        return std::accumulate(
            nodes_.begin(), nodes_.end(), std::size_t{0},
            [](std::size_t sum, const auto& node) { return sum + node->turns.size(); });
    }
};

TEST_F(RetryRulesTest, ForeignNodesGetATurnOnce) {
    start_static(3);
    all_die();
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 502);
    EXPECT_NE(reply.body.find("\"code\":\"node_lost\""), std::string::npos);
    EXPECT_EQ(turns(), 1u);
}

TEST_F(RetryRulesTest, ForeignNodesGetATurnAgainIfTheyMay) {
    config_.retry_foreign = true;
    start_static(3);
    all_die();
    EXPECT_EQ(post("s1").status, 502);
    EXPECT_EQ(nodes_reached(), 3);
}

TEST_F(RetryRulesTest, ANodeThatSignsIsOneOfOurs) {
    start_static(3);
    for (int s = 0; s < 20; ++s) EXPECT_EQ(post("s" + std::to_string(s)).status, 200);
    for (const auto& node : nodes_) node->turns.clear();
    all_die();
    EXPECT_EQ(post("s1").status, 502);
    EXPECT_EQ(nodes_reached(), 3);
}

TEST_F(RetryRulesTest, ForeignNodesThatRefuseAreWalkedPast) {
    start_static(3);
    const std::string home = post("s1").route("node");
    node(home).stop();
    EXPECT_EQ(post("s1").status, 200);
}

TEST_F(RetryRulesTest, TheBudgetBoundsRetries) {
    config_.retry_budget_burst = 4;
    config_.retry_budget_percent = 10;
    start_with_store(3);
    all_die();
    for (int i = 0; i < 40; ++i) EXPECT_EQ(post("s" + std::to_string(i)).status, 502);
    EXPECT_EQ(metric("hearth_router_retries_total", "reason=\"node_lost\""), 7)
        << "39 requests after the first filled up 3.9 retries";
    EXPECT_GT(metric("hearth_router_admission_rejected_total", "reason=\"retry_budget\""), 30);
}

TEST_F(RetryRulesTest, DeadlinesAreToldAndKept) {
    start_with_store(1);
    const Reply reply = post("s1", kTurn, {{"x-request-timeout", "20"}});
    EXPECT_EQ(reply.status, 200);
    const std::string told = nodes_[0]->turns.at(0).header("hearth-deadline");
    ASSERT_FALSE(told.empty());
    EXPECT_LE(std::stoi(told), 20'000);
    EXPECT_GT(std::stoi(told), 0);
    EXPECT_EQ(post("s1").status, 200);
    EXPECT_EQ(nodes_[0]->turns.at(1).header("hearth-deadline"), "");
    EXPECT_EQ(post("s1", kTurn, {{"hearth-deadline", "soon"}}).status, 400);

    nodes_[0]->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
        (void)co_await exchange.wait_client_gone();
        exchange.abort();
    };
    const Reply late = post("s1", kTurn, {{"hearth-deadline", "20"}});
    EXPECT_EQ(late.status, 408);
    EXPECT_NE(late.body.find("\"code\":\"deadline\""), std::string::npos);
}

}  // namespace
}  // namespace hearth
