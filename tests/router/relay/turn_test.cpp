// Where turns go: sticky sessions, first turns, heirs, restarts, and a store that comes and goes.
#include <set>
#include <sstream>

#include "router/session/session_key.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

class TurnTest : public RouterTest {
  protected:
    std::string session(int n) { return "session-" + std::to_string(n); }
    // One turn of each session; where each went.
    std::map<std::string, std::string> round(int sessions) {
        std::map<std::string, std::string> where;
        for (int n = 0; n < sessions; ++n) {
            const Reply reply = post(session(n));
            EXPECT_EQ(reply.status, 200) << reply.body;
            where[session(n)] = reply.route("node");
        }
        return where;
    }
    static std::set<std::string> nodes_of(const std::map<std::string, std::string>& where) {
        std::set<std::string> nodes;
        for (const auto& [name, at] : where) nodes.insert(at);
        return nodes;
    }
    // Waits until the router has read the store once more.
    void refresh() {
        const int probes = nodes_[0]->probes;
        ASSERT_TRUE(run_until(io_, [&] { return nodes_[0]->probes > probes + 5; }));
    }
    // Two nodes; the first one's record says that it has much to do.
    NodeRecord start_with_a_busy_node() {
        add_nodes(2);
        NodeRecord busy = record_of(*nodes_[0]);
        busy.running = 20;
        publish(busy);
        publish(record_of(*nodes_[1]));
        start_router(&store_);
        wait_ready();
        return busy;
    }
    SessionKey key(const std::string& name) {
        return derive_session_key("test", "", KeySource::kHeader, name);
    }
    void publish_session(const std::string& name, const std::string& node_id, std::int64_t epoch) {
        SessionRecord record;
        record.node_id = node_id;
        record.epoch = epoch;
        ASSERT_TRUE(run(store_.publish_session(key(name), record, std::chrono::hours(1))).ok());
    }
};

TEST_F(TurnTest, SessionsStickWithAStore) {
    start_with_store(3);
    const auto first = round(200);
    EXPECT_EQ(nodes_of(first).size(), 3u);
    for (int turn = 2; turn <= 3; ++turn) EXPECT_EQ(round(200), first) << "turn " << turn;
}

TEST_F(TurnTest, SessionsStickWithoutAStoreAndRoutersAgree) {
    start_static(3);
    const auto first = round(200);
    EXPECT_EQ(nodes_of(first).size(), 3u);
    EXPECT_EQ(round(200), first);
    // Another router that has seen none of this gives the same answers.
    const auto other = std::make_unique<RouterServer>(io_, config_, nullptr, clock_);
    ASSERT_TRUE(other->start().ok());
    for (const auto& [name, at] : first) {
        HeaderList headers{{"x-session-id", name}};
        const Reply reply = run(
            request(other->endpoint(), "POST", "/v1/chat/completions", std::move(headers), kTurn));
        EXPECT_EQ(reply.route("node"), at);
    }
    finish(other->drain_and_stop(milliseconds(0)));
}

TEST_F(TurnTest, ChatsWithoutAKeyStick) {
    start_with_store(3);
    std::set<std::string> used;
    for (int chat = 0; chat < 30; ++chat) {
        const std::string opening = R"({"model":"m","messages":[{"role":"user","content":"chat )" +
                                    std::to_string(chat) + "\"}";
        const Reply first = post("", opening + "]}");
        EXPECT_EQ(first.route("key"), "anchor");
        used.insert(first.route("node"));
        const Reply second = post(
            "",
            opening + R"(,{"role":"assistant","content":"yes?"},{"role":"user","content":"so"}]})");
        EXPECT_EQ(second.route("node"), first.route("node"));
        const Reply keyed = post("", R"({"prompt_cache_key":"k)" + std::to_string(chat) + "\"}");
        EXPECT_EQ(keyed.route("key"), "prompt_cache_key");
    }
    EXPECT_EQ(used.size(), 3u);
}

TEST_F(TurnTest, FirstTurnsAvoidTheBusyOfTheTwo) {
    NodeRecord busy = start_with_a_busy_node();
    const auto where = round(40);
    EXPECT_EQ(nodes_of(where), (std::set<std::string>{"node-2"}));
    EXPECT_GT(metric("hearth_router_route_decisions_total", "outcome=\"heir\""), 5);
    // The load has gone; the sessions stay where they are.
    busy.running = 0;
    publish(busy);
    refresh();
    EXPECT_EQ(round(40), where);
    EXPECT_GT(metric("hearth_router_route_decisions_total", "outcome=\"bound\""), 5);
}

// Redis did what it was told, but the router had gone home by then.
TEST_F(TurnTest, AClaimThatWasAnsweredTooLateIsOverruled) {
    start_with_a_busy_node();
    store_.late = true;
    const auto where = round(40);
    EXPECT_EQ(nodes_of(where), (std::set<std::string>{"node-1", "node-2"})) << "all went home";
    store_.late = false;
    EXPECT_EQ(round(40), where);
    RouterServer other(io_, config_, &store_, clock_);
    ASSERT_TRUE(other.start().ok());
    ASSERT_TRUE(run(other.wait_ready(std::chrono::seconds(10))));
    for (const auto& [name, at] : where) {
        HeaderList headers{{"x-session-id", name}};
        const Reply reply = run(
            request(other.endpoint(), "POST", "/v1/chat/completions", std::move(headers), kTurn));
        EXPECT_EQ(reply.route("node"), at);
    }
    finish(other.drain_and_stop(milliseconds(0)));
}

TEST_F(TurnTest, FirstTurnsAtOnceGoToOneNode) {
    start_with_store(3);
    for (const auto& node : nodes_)
        node->behaviour = [this](FakeNode& fake, ServerExchange& exchange) -> Task<void> {
            asio::steady_timer pause(io_, milliseconds(2));
            co_await pause.async_wait(asio::use_awaitable);
            co_await FakeNode::answer_json(fake, exchange);
        };
    for (int s = 0; s < 10; ++s) {
        std::vector<std::shared_ptr<TaskOutcome<Reply>>> turns;
        for (int n = 0; n < 4; ++n) {
            HeaderList headers{{"x-session-id", session(s)}};
            turns.push_back(start_task(
                io_, request(router_->endpoint(), "POST", "/v1/chat/completions", headers, kTurn)));
        }
        std::set<std::string> nodes;
        for (auto& turn : turns) nodes.insert(finish_task(io_, turn).route("node"));
        EXPECT_EQ(nodes.size(), 1u) << session(s);
    }
}

TEST_F(TurnTest, TheStoreKnowsBetter) {
    start_with_store(3);
    for (int n = 0; n < 12; ++n)
        publish_session(session(n), "node-" + std::to_string(n % 3 + 1), 4);
    const auto where = round(12);
    for (int n = 0; n < 12; ++n)
        EXPECT_EQ(where.at(session(n)), "node-" + std::to_string(n % 3 + 1));
    EXPECT_EQ(store_.lookups, 12);
    round(12);
    EXPECT_EQ(store_.lookups, 12) << "remembered for a while";
}

TEST_F(TurnTest, ARecordOfANodeThatIsGoneMeansHome) {
    start_with_store(2);
    publish_session("s", "node-9", 4);
    const Reply reply = post("s");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.route("reason"), "home");
}

TEST_F(TurnTest, AStoreThatDiesChangesNothing) {
    start_with_store(3);
    const auto before = round(60);
    store_.on = false;
    wait_metric("hearth_directory_up", 0);
    EXPECT_EQ(round(60), before);
    // New sessions go home, where every router looks for them.
    const Reply fresh = post("new");
    EXPECT_EQ(fresh.route("reason"), "home");
    store_.on = true;
    wait_metric("hearth_directory_up", 1);
    EXPECT_EQ(round(60), before);
    EXPECT_EQ(post("new").route("node"), fresh.route("node"));
}

TEST_F(TurnTest, ADeadNodesSessionsGoToTheirHeirsAndStay) {
    start_with_store(3);
    const auto before = round(60);
    node("node-2").stop();
    const auto during = round(60);
    std::set<std::string> heirs;
    for (const auto& [name, at] : before) {
        if (at != "node-2") {
            EXPECT_EQ(during.at(name), at) << name << " had no reason to move";
        } else {
            heirs.insert(during.at(name));
        }
    }
    EXPECT_EQ(heirs, (std::set<std::string>{"node-1", "node-3"}));
    EXPECT_EQ(metric("hearth_router_node_health", "node-2"), 0);
    EXPECT_EQ(metric("hearth_router_ring_members", "state=\"ejected\""), 1);
    node("node-2").start();
    wait_metric("hearth_router_node_health", 3);
    EXPECT_EQ(round(60), during) << "their KV is at the heirs now";
}

TEST_F(TurnTest, StaticSessionsComeHome) {
    start_static(3);
    const auto before = round(60);
    node("node-2").stop();
    const auto during = round(60);
    EXPECT_EQ(nodes_of(during), (std::set<std::string>{"node-1", "node-3"}));
    node("node-2").start();
    wait_metric("hearth_router_node_health", 3);
    EXPECT_EQ(round(60), before);
}

TEST_F(TurnTest, ANodeThatDiesBeforeItsFirstByteIsReplaced) {
    start_with_store(3);
    for (const bool whole : {false, true}) {
        const std::string name = whole ? "whole" : "none";
        const Reply first = post(name);
        FakeNode& sick = node(first.route("node"));
        sick.behaviour = [whole](FakeNode&, ServerExchange& exchange) -> Task<void> {
            if (whole) {
                // Half of an answer whose length is known: the client has seen none of it.
                HeaderList headers{{"content-type", "text/event-stream"}};
                (void)co_await exchange.start_stream(200, std::move(headers));
            }
            exchange.abort();
        };
        const Reply second = post(name);
        EXPECT_EQ(second.status, 200);
        EXPECT_TRUE(second.whole);
        EXPECT_EQ(second.route("reason"), "heir");
        EXPECT_NE(second.route("node"), sick.id);
        EXPECT_EQ(node(second.route("node")).turns.back().body, kTurn);
        sick.behaviour = FakeNode::answer_json;
        EXPECT_EQ(post(name).route("node"), second.route("node"));
    }
    EXPECT_EQ(metric("hearth_router_retries_total", "reason=\"node_lost\""), 2);
}

TEST_F(TurnTest, ALargeBodyCannotBeReplayed) {
    start_with_store(2);
    for (const auto& node : nodes_)
        node->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
            exchange.abort();
            co_return;
        };
    const Reply reply = post("s", std::string(3 << 20, ' ') + kTurn);
    EXPECT_EQ(reply.status, 502);
    EXPECT_NE(reply.body.find("\"code\":\"node_lost\""), std::string::npos) << reply.body;
    EXPECT_EQ(nodes_[0]->turns.size() + nodes_[1]->turns.size(), 1u);
}

TEST_F(TurnTest, ABusyNodeIsPassedOver) {
    start_with_store(2);
    const Reply first = post("s");
    const auto busy = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"retry-after", "3"}};
        (void)co_await exchange.respond(503, std::move(headers),
                                        "{\"error\":{\"code\":\"drain\"}}");
    };
    node(first.route("node")).behaviour = busy;
    const Reply second = post("s");
    EXPECT_EQ(second.status, 200);
    EXPECT_NE(second.route("node"), first.route("node"));
    for (const auto& node : nodes_) node->behaviour = busy;
    const Reply third = post("s");
    EXPECT_EQ(third.status, 503);
    EXPECT_EQ(third.headers.at("retry-after"), "3") << "the node's own answer";
}

TEST_F(TurnTest, NobodyThere) {
    start_with_store(2);
    for (const auto& node : nodes_) node->stop();
    for (int n = 0; n < 2; ++n) {
        const Reply reply = post("s");
        EXPECT_EQ(reply.status, 503);
        EXPECT_EQ(reply.headers.at("retry-after"), "1");
        EXPECT_NE(reply.body.find("\"code\":\"no_node\""), std::string::npos) << reply.body;
    }
    EXPECT_EQ(get("/ready").status, 503);
    EXPECT_EQ(get("/health").status, 200);
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "reason=\"no_node\""), 2);
}

TEST_F(TurnTest, MovedSessionsAreFollowed) {
    start_with_store(3);
    const Reply first = post("s");
    const std::string target = first.route("node") == "node-1" ? "node-2" : "node-1";
    node(first.route("node")).behaviour = [target](FakeNode&,
                                                   ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"hearth-moved-to", target}};
        (void)co_await exchange.respond(200, std::move(headers), "{}");
    };
    const Reply told = post("s");
    EXPECT_EQ(told.route("node"), first.route("node"));
    EXPECT_EQ(told.headers.count("hearth-moved-to"), 0u);
    const Reply moved = post("s");
    EXPECT_EQ(moved.route("node"), target);
    EXPECT_EQ(moved.route("reason"), "moved");
    const Reply settled = post("s");
    EXPECT_EQ(settled.route("node"), target);
    EXPECT_NE(settled.route("reason"), "moved");
}

TEST_F(TurnTest, ADrainingNodeTakesNoTurns) {
    start_with_store(3);
    const auto before = round(30);
    NodeRecord draining = record_of(*nodes_[0]);
    draining.state = NodeState::kDraining;
    publish(draining);
    wait_metric("hearth_router_ring_members", 1, "state=\"draining\"");
    const auto during = round(30);
    EXPECT_EQ(nodes_of(during), (std::set<std::string>{"node-2", "node-3"}));
    for (const auto& [name, at] : before)
        if (at != "node-1") {
            EXPECT_EQ(during.at(name), at);
        }
}

TEST_F(TurnTest, RouteHeaderCanBeHidden) {
    config_.expose_route = false;
    start_with_store(1);
    EXPECT_EQ(post("s").headers.count("hearth-route"), 0u);
}

}  // namespace
}  // namespace hearth
