// Ejection, full nodes and pools as turns meet them, over real sockets.
#include <set>

#include "tests/router/fleet.h"

namespace hearth {
namespace {

constexpr int kSessions = 30;

class MembersTest : public RouterTest {
  protected:
    // A turn of each session; where those that succeeded went ("-": it failed).
    std::map<std::string, std::string> round() {
        std::map<std::string, std::string> where;
        for (int n = 0; n < kSessions; ++n) {
            const std::string name = "session-" + std::to_string(n);
            const Reply reply = post(name);
            where[name] = reply.status == 200 ? reply.route("node") : "-";
        }
        return where;
    }
    static Task<void> fail(FakeNode&, ServerExchange& exchange) {
        (void)co_await exchange.respond(500, HeaderList{}, "{}");
    }
    // Its sessions answered, except for the ones that failed on the way.
    std::map<std::string, std::string> eject(const std::string& id) {
        node(id).behaviour = fail;
        const auto during = round();
        EXPECT_EQ(metric("hearth_router_node_ejections_total", "node=\"" + id + "\""), 1);
        EXPECT_EQ(metric("hearth_router_node_ejections_total", "reason=\"5xx\""), 1);
        return during;
    }
};

TEST_F(MembersTest, ANodeThatFailsInARowIsWalkedPast) {
    config_.eject_failures = 3;
    config_.eject_ms = config_.eject_ms_max = 3'600'000;
    start_static(3);
    const auto before = round();
    const double version = metric("hearth_router_ring_version");
    const auto during = eject("node-2");
    int failed = 0;
    std::set<std::string> heirs;
    for (const auto& [name, at] : before) {
        if (at != "node-2") {
            EXPECT_EQ(during.at(name), at) << name << " had no reason to move";
        } else if (during.at(name) == "-") {
            ++failed;
        } else {
            heirs.insert(during.at(name));
        }
    }
    EXPECT_EQ(failed, 3) << "the client gets the node's own 500, and no more of them";
    EXPECT_EQ(heirs, (std::set<std::string>{"node-1", "node-3"}));
    EXPECT_EQ(metric("hearth_router_ring_members", "state=\"ejected\""), 1);
    EXPECT_EQ(metric("hearth_router_ring_version"), version) << "it keeps its place in the hash";
    EXPECT_NEAR(metric("hearth_router_ring_ownership_ratio", "node-2"), 1.0 / 3, 1e-9);
    EXPECT_EQ(metric("hearth_router_node_health", "node-2"), 1) << "its probes pass";
}

TEST_F(MembersTest, AfterItsTimeATrialBringsItsSessionsBack) {
    config_.eject_failures = 3;
    config_.eject_ms = config_.eject_ms_max = 1;
    start_static(3);
    const auto before = round();
    node("node-2").behaviour = fail;
    const MonotonicNs end = clock_.now() + 10 * kSecond;
    const auto ejections = [this] {
        return metric("hearth_router_node_ejections_total", "node-2");
    };
    while (ejections() < 3 && clock_.now() < end) round();
    EXPECT_GE(ejections(), 3) << "trials fail too";
    node("node-2").behaviour = FakeNode::answer_json;
    std::map<std::string, std::string> now;
    while (now != before && clock_.now() < end) now = round();
    EXPECT_EQ(now, before);
}

TEST_F(MembersTest, NoMoreThanTheirShareOfThePool) {
    config_.eject_failures = 2;
    config_.eject_ms = config_.eject_ms_max = 3'600'000;
    config_.ejected_max_percent = 34;
    start_static(3);
    for (const auto& node : nodes_) node->behaviour = fail;
    for (int n = 0; n < 3; ++n) round();
    EXPECT_EQ(metric("hearth_router_node_ejections_total"), 1);
}

TEST_F(MembersTest, AFullNodeLeavesNewSessionsToItsHeirButNotItsOwn) {
    config_.node_in_flight_max = 1;
    start_with_store(2);
    Gate gate(io_);
    bool held = false;
    FakeNode& full = node(post("s").route("node"));
    full.behaviour = [&](FakeNode& fake, ServerExchange& exchange) -> Task<void> {
        held = true;
        co_await gate.wait();
        co_await FakeNode::answer_json(fake, exchange);
    };
    const HeaderList headers{{"x-session-id", "s"}};
    auto open = start_task(
        io_, request(router_->endpoint(), "POST", "/v1/chat/completions", headers, kTurn));
    ASSERT_TRUE(run_until(io_, [&] { return held; }));
    const Reply refused = post("s");
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.headers.count("retry-after"), 1u);
    EXPECT_NE(refused.body.find("\"code\":\"node_full\""), std::string::npos) << refused.body;
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "reason=\"node_full\""), 1);
    for (int n = 0; n < 10; ++n) {
        const Reply reply = post("new-" + std::to_string(n));
        EXPECT_EQ(reply.status, 200);
        EXPECT_NE(reply.route("node"), full.id);
    }
    gate.open();
    EXPECT_EQ(finish_task(io_, open).status, 200);
    EXPECT_EQ(post("s").route("node"), full.id);
}

// Hearth's nodes give the same answer twice, so a turn may be sent again after one has died. Which
// static nodes are Hearth's is known from their probes, before any turn.
TEST_F(MembersTest, StaticNodesOfOursMayDieOnTheirFirstTurn) {
    for (const bool signs : {false, true}) {
        nodes_.clear();
        config_.nodes.clear();
        add_nodes(2);
        for (const auto& node : nodes_) {
            node->signs = signs;
            config_.nodes.push_back({node->id, node->address(), 1.0});
        }
        start_router(nullptr);
        wait_ready();
        int died = 0;
        for (const auto& node : nodes_)
            node->behaviour = [&died](FakeNode& fake, ServerExchange& exchange) -> Task<void> {
                if (died++ == 0)
                    exchange.abort();
                else
                    co_await FakeNode::answer_json(fake, exchange);
            };
        EXPECT_EQ(post("s").status, signs ? 200 : 502);
        finish(router_->drain_and_stop(milliseconds(0)));
        router_.reset();
    }
}

std::string turn_for(const std::string& model) {
    return "{\"model\":\"" + model + R"(","messages":[{"role":"user","content":"hi"}]})";
}

TEST_F(MembersTest, EachModelHasItsPool) {
    add_nodes(3);
    config_.nodes = {{"node-1", nodes_[0]->address(), 1, "m"},
                     {"node-2", nodes_[1]->address(), 1, "n"},
                     {"node-3", nodes_[2]->address(), 1, "n"}};
    config_.pools = {{"small", {"m"}, {"fast"}, {}}, {"large", {"n"}, {"smart"}, {}}};
    start_router(nullptr);
    wait_ready();
    std::set<std::string> large;
    for (int n = 0; n < 20; ++n) {
        const std::string name = "s-" + std::to_string(n);
        EXPECT_EQ(post(name, turn_for("m")).route("node"), "node-1");
        EXPECT_EQ(post(name, turn_for("fast")).route("node"), "node-1");
        const std::string at = post(name, turn_for("n")).route("node");
        EXPECT_EQ(post(name, turn_for("smart")).route("node"), at) << "an alias is the same pool";
        large.insert(at);
    }
    EXPECT_EQ(large, (std::set<std::string>{"node-2", "node-3"}));
    const Reply unknown = post("s", turn_for("gpt"));
    EXPECT_EQ(unknown.status, 404);
    EXPECT_NE(unknown.body.find("\"code\":\"model_not_found\""), std::string::npos) << unknown.body;
    EXPECT_NE(unknown.body.find("\"param\":\"model\""), std::string::npos) << unknown.body;
    EXPECT_EQ(nodes_[0]->turns.back().body, turn_for("fast")) << "passed on as it came";
}

TEST_F(MembersTest, ReroutedTurnsHaveACause) {
    start_with_store(3);
    const auto before = round();
    int homes = 0;
    for (const auto& [name, at] : before) homes += at == "node-2";
    node("node-2").stop();
    round();
    round();
    EXPECT_EQ(metric("hearth_router_sessions_rerouted_total", "reason=\"node_down\""), homes);
    EXPECT_EQ(metric("hearth_router_sessions_active"), kSessions);
    const auto at_node_3 = round();
    int moving = 0;
    for (const auto& [name, at] : at_node_3) moving += at == "node-3";
    NodeRecord draining = record_of(node("node-3"));
    draining.state = NodeState::kDraining;
    publish(draining);
    wait_metric("hearth_router_ring_members", 1, "state=\"draining\"");
    round();
    round();
    EXPECT_EQ(metric("hearth_router_sessions_rerouted_total", "reason=\"planned_drain\""), moving);
    EXPECT_EQ(metric("hearth_router_sessions_rerouted_total"), homes + moving);
}

}  // namespace
}  // namespace hearth
