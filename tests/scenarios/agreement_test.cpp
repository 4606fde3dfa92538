// Agreement: three routers, thousands of chats, members that come and go, a Redis that is killed
// and flushed: no session changes its node but for a reason that is on record.
//
// Real sockets and a real redis-server, all on one loop. The full size is 10,000 sessions of five
// turns: agreement_test --sessions 10000. --seed N repeats a run's schedule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <random>
#include <set>

#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/net/http_client.h"
#include "common/net/http_server.h"
#include "common/redis/redis_store.h"
#include "router/server.h"
#include "tests/common/net/loopback.h"
#include "tests/support/redis_process.h"
#include "tests/support/run_task.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

int g_sessions = 10'000;
std::uint64_t g_seed = 0;
constexpr int kTurns = 5;
constexpr int kRouters = 3;
constexpr int kWorkers = 24;  // Turns in flight.
constexpr milliseconds kHeartbeat{300};

struct Served {  // One turn, as its client saw it.
    std::string node, reason;
    bool store_down = false;
    MonotonicNs start = 0, end = 0;
    std::size_t router = 0;
};

// Of hearth-route: "node=a;reason=home;key=header".
std::string part_of(const std::string& route, const std::string& name) {
    const std::string text = ";" + route + ";";
    const std::size_t at = text.find(";" + name + "=");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + name.size() + 2;
    return text.substr(begin, text.find(';', begin) - begin);
}

struct Session {
    std::string name;
    bool busy = false;
    std::vector<Served> turns;
};

// A node of the fleet: publishes as a Hearth node does, holds nothing but epochs and lengths.
struct EchoNode {
    std::unique_ptr<HttpServer> server;
    NodeRecord record;
    struct Held {
        std::int64_t epoch = 1, tokens = 0;
    };
    std::map<std::string, Held> held;
    std::deque<std::string> unpublished;  // Sessions; kept while the store is down.
    bool member = true;
};

class AgreementTest : public testing::Test {
  protected:
    AgreementTest() : client_(io_), rng_(g_seed) {}
    ~AgreementTest() override {
        over_ = true;
        for (auto& router : routers_)
            if (router) run_until_done(io_, router->drain_and_stop(milliseconds(0)));
        if (beats_ && !run_until(io_, [&] { return beats_->done(); })) ADD_FAILURE() << "hangs";
        routers_.clear();
        nodes_.clear();
    }

    static RedisOptions redis_options(const RedisProcess& redis) {
        RedisOptions options;
        options.address = redis.address();
        // The routers' look-ups share one busy loop with the nodes and the clients here.
        options.lookup_timeout = milliseconds(500);
        options.command_timeout = milliseconds(2'000);
        return options;
    }

    void start() {
        redis_ = std::make_unique<RedisProcess>();
        for (int i = 0; i <= kRouters; ++i) {
            stores_.push_back(std::make_unique<RedisStore>(io_, redis_options(*redis_)));
            stores_.back()->start();
        }
        ASSERT_TRUE(run_until(io_, [&] { return all_up(); }));
        for (int n = 0; n < 5; ++n) join();
        beats_ = start_task(io_, heartbeats());
        RouterConfig config;
        config.listen = "127.0.0.1:0";
        config.admin_listen = "";
        config.membership_refresh_ms = 50;
        config.health_interval_ms = 100;
        config.session_secret = "test";
        for (int r = 0; r < kRouters; ++r) {
            routers_.push_back(std::make_unique<RouterServer>(
                io_, config, stores_[static_cast<std::size_t>(r)].get(), SystemClock::instance()));
            ASSERT_TRUE(routers_.back()->start().ok());
        }
        for (std::size_t s = 0; s < static_cast<std::size_t>(g_sessions); ++s)
            sessions_.push_back({"session-" + std::to_string(s), false, {}});
        settle();
    }
    bool all_up() const {
        return std::all_of(stores_.begin(), stores_.end(), [](const auto& s) { return s->up(); });
    }
    // Until the routers have seen the nodes' latest heartbeats.
    void settle() {
        const MonotonicNs end = clock().now() + 2 * kHeartbeat.count() * kMs;
        ASSERT_TRUE(run_until(io_, [&] { return clock().now() > end; }));
    }
    static const Clock& clock() { return SystemClock::instance(); }

    void join() {
        const std::string id = "node-" + std::to_string(++joined_);
        nodes_.push_back(std::make_unique<EchoNode>());
        EchoNode& node = *nodes_.back();
        node.server = std::make_unique<HttpServer>(
            io_, HttpServer::Options{},
            [this, &node](ServerExchange& exchange) { return answer(node, exchange); });
        ASSERT_TRUE(node.server->start().ok());
        node.record.node_id = id;
        node.record.generation = "1";
        node.record.address = node.server->endpoint();
        node.record.state = NodeState::kReady;
        node.record.prefill_tokens_per_s = 1'000;
        node.record.started_ms = clock().unix_now();
    }
    // In order: the record goes first, then the listener. A crash leaves the record to expire.
    void leave(EchoNode& node, bool crash) {
        node.member = false;
        if (!crash) {
            const Result<void> told = run_task(
                io_, stores_.back()->remove_node(node.record.node_id, node.record.generation));
            EXPECT_TRUE(told.ok());
            settle();
        }
        gone_[node.record.node_id] = clock().now();
        node.server.reset();
    }

    Task<void> answer(EchoNode& node, ServerExchange& exchange) {
        const std::string session(exchange.head().find("hearth-session"));
        const std::string epoch(exchange.head().find("hearth-epoch"));
        (void)co_await exchange.read_body(1 << 20);
        HeaderList headers{{"content-type", "application/json"}};
        if (session.empty()) {  // A probe.
            (void)co_await exchange.respond(200, std::move(headers), "{}");
            co_return;
        }
        EchoNode::Held& held = node.held[session];
        if (!epoch.empty()) held.epoch = std::max<std::int64_t>(held.epoch, std::stoll(epoch));
        held.tokens += 100;
        asio::steady_timer pause(io_, milliseconds(1));
        co_await pause.async_wait(asio::use_awaitable);
        node.unpublished.push_back(session);
        (void)co_await exchange.respond(200, std::move(headers), "{}");
    }

    Task<int> heartbeats() {
        asio::steady_timer pause(io_);
        MonotonicNs due = 0;
        while (!over_) {
            const bool beat = clock().now() >= due;
            if (beat) due = clock().now() + kHeartbeat.count() * kMs;
            for (std::size_t n = 0; n < nodes_.size(); ++n) {
                if (over_ || !nodes_[n]->member) continue;
                if (beat)
                    (void)co_await stores_.back()->publish_node(nodes_[n]->record, 3 * kHeartbeat);
                co_await publish_sessions(*nodes_[n]);
            }
            pause.expires_after(milliseconds(5));
            boost::system::error_code ignored;
            co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
        co_return 0;
    }
    Task<void> publish_sessions(EchoNode& node) {
        while (!over_ && node.member && !node.unpublished.empty()) {
            const std::string session = node.unpublished.front();
            const EchoNode::Held held = node.held[session];
            SessionRecord record;
            record.node_id = node.record.node_id;
            record.generation = node.record.generation;
            record.epoch = held.epoch;
            record.tokens = held.tokens;
            record.updated_ms = record.since_ms = clock().unix_now();
            const SessionKey key = *SessionKey::from_hex(session);
            const auto told =
                co_await stores_.back()->publish_session(key, record, std::chrono::hours(1));
            if (!told.ok()) co_return;
            node.unpublished.pop_front();
        }
    }

    // One turn of a session through a router.
    Task<Served> turn(std::string name, std::size_t router) {
        Served out;
        out.start = clock().now();
        out.router = router;
        const std::string body = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
        const HeaderList headers{{"x-session-id", name}};
        const std::string address = routers_[router]->endpoint();
        const auto reply = co_await client_.call(address, "POST", "/v1/chat/completions", headers,
                                                 body, std::chrono::seconds(30));
        out.end = clock().now();
        if (!reply.ok() || reply->status != 200) {
            std::cout << name << " at " << taken_ << "/" << total_ << ": "
                      << (reply.ok() ? std::to_string(reply->status) + " " + reply->body
                                     : reply.error().message)
                      << std::endl;
            co_return out;
        }
        for (const auto& [field, value] : reply->headers) {
            if (!equals_ignore_case(field, "hearth-route")) continue;
            out.node = part_of(value, "node");
            out.reason = part_of(value, "reason");
            out.store_down = part_of(value, "store") == "down";
        }
        co_return out;
    }

    // Takes turns from the schedule until it is done up to `limit`.
    Task<int> worker(std::size_t limit) {
        while (taken_ < limit) {
            const std::size_t at = schedule_[taken_++];
            Session& session = sessions_[at];
            if (session.busy) {  // Its turns are one after another.
                schedule_.push_back(at);
                ++postponed_;
                continue;
            }
            session.busy = true;
            const std::size_t router = rng_.below(kRouters);
            const Served served = co_await turn(session.name, router);
            session.turns.push_back(served);
            session.busy = false;
        }
        co_return 0;
    }
    // Runs the schedule up to `share` of it.
    void run_to(double share) {
        run_until_taken(static_cast<std::size_t>(share * static_cast<double>(total_)));
    }
    void run_until_taken(std::size_t limit) {
        std::vector<std::shared_ptr<TaskOutcome<int>>> workers;
        for (int w = 0; w < kWorkers; ++w) workers.push_back(start_task(io_, worker(limit)));
        for (auto& one : workers) finish_task(io_, one, std::chrono::minutes(10));
    }
    // First turns of new sessions through all routers at once: each session ends on one node.
    void race(int sessions) {
        for (int s = 0; s < sessions; ++s) {
            const std::string name = "race-" + std::to_string(raced_++);
            std::vector<std::shared_ptr<TaskOutcome<Served>>> turns;
            for (std::size_t r = 0; r < kRouters; ++r)
                turns.push_back(start_task(io_, turn(name, r)));
            std::set<std::string> nodes;
            for (auto& one : turns) nodes.insert(finish_task(io_, one).node);
            EXPECT_EQ(nodes.size(), 1u) << name;
            EXPECT_FALSE(nodes.contains("")) << name;
        }
    }

    void check();
    std::string explanation(const Served& before, const Served& now) const;
    std::string history(const Session& session) const;

    asio::io_context io_;
    std::unique_ptr<RedisProcess> redis_;
    std::vector<std::unique_ptr<RedisStore>> stores_;  // One per router; the last is the nodes'.
    HttpClient client_;
    Rng rng_;
    std::vector<std::unique_ptr<EchoNode>> nodes_;
    std::vector<std::unique_ptr<RouterServer>> routers_;
    std::vector<Session> sessions_;
    std::vector<std::size_t> schedule_;  // Sessions, in the order of their turns.
    std::size_t taken_ = 0, total_ = 0, postponed_ = 0;
    std::map<std::string, MonotonicNs> gone_;  // Nodes that left, and when.
    std::vector<MonotonicNs> losses_;          // When Redis lost its memory.
    int joined_ = 0, raced_ = 0;
    bool over_ = false;
    std::shared_ptr<TaskOutcome<int>> beats_;
};

// Why a session's turn was on another node than the one before; empty: for no reason on record.
std::string AgreementTest::explanation(const Served& before, const Served& now) const {
    if (now.reason == "spill" || now.reason == "moved" || now.reason == "pinned") return now.reason;
    if (before.reason == "spill" && now.reason == "home") return "home again after a spill";
    const auto gone = gone_.find(before.node);
    if (gone != gone_.end() && gone->second <= now.end) return "the node has gone";
    if (now.store_down) return "placed with the store down";
    if (before.store_down) return "after a turn placed with the store down";
    // A store that has lost its memory knows of nothing that was agreed on before, until the
    // routers notice and tell it again.
    constexpr MonotonicNs told_again = 5 * kSecond;  // kLocalTrust. Few need it: see check().
    for (const MonotonicNs loss : losses_)
        if (before.start <= loss + told_again && loss <= now.end)
            return "the store lost its memory between";
    return "";
}

// Every turn of a session, and what happened meanwhile; times in ms since the first loss.
std::string AgreementTest::history(const Session& session) const {
    std::ostringstream out;
    const auto ms = [this](MonotonicNs at) { return (at - losses_.front()) / kMs; };
    for (const Served& turn : session.turns)
        out << "\n  " << ms(turn.start) << ".." << ms(turn.end) << " router " << turn.router << ": "
            << turn.node << " " << turn.reason << (turn.store_down ? " (store down)" : "");
    for (const auto& [node, at] : gone_) out << "\n  " << ms(at) << " gone: " << node;
    for (const MonotonicNs at : losses_) out << "\n  " << ms(at) << " loss";
    return out.str();
}

void AgreementTest::check() {
    std::map<std::string, std::size_t> why;
    std::size_t turns = 0, unanswered = 0, unexplained = 0;
    for (const Session& session : sessions_) {
        EXPECT_EQ(session.turns.size(), static_cast<std::size_t>(kTurns)) << session.name;
        for (std::size_t t = 0; t < session.turns.size(); ++t) {
            const Served& now = session.turns[t];
            ++turns;
            unanswered += now.node.empty();
            if (t == 0 || now.node.empty()) continue;
            const Served& before = session.turns[t - 1];
            if (before.node.empty() || before.node == now.node) continue;
            const std::string reason = explanation(before, now);
            ++why[reason.empty() ? "UNEXPLAINED" : reason];
            if (!reason.empty() || ++unexplained > 5) continue;
            ADD_FAILURE() << session.name << " turn " << t + 1 << history(session);
        }
    }
    EXPECT_EQ(unexplained, 0u);
    EXPECT_EQ(unanswered, 0u);
    EXPECT_EQ(turns, total_);
    std::cout << turns << " turns; changes of node:";
    for (const auto& [reason, count] : why) std::cout << "\n  " << count << "  " << reason;
    std::cout << std::endl;
    EXPECT_GT(why["the node has gone"], 0u) << "the test must have something to see";
    EXPECT_LT(why["the store lost its memory between"], total_ / 33);
}

TEST_F(AgreementTest, NoSessionChangesItsNodeWithoutAReason) {
    if (!RedisProcess::available()) GTEST_SKIP() << "redis-server is not installed";
    std::cout << g_sessions << " sessions, seed " << g_seed << std::endl;
    start();
    for (std::size_t s = 0; s < sessions_.size(); ++s) schedule_.insert(schedule_.end(), kTurns, s);
    for (std::size_t i = schedule_.size(); i > 1; --i)
        std::swap(schedule_[i - 1], schedule_[rng_.below(i)]);
    total_ = schedule_.size();
    race(100);
    run_to(0.15);
    join();
    run_to(0.3);
    leave(*nodes_[1], false);
    run_to(0.4);
    redis_->ask({"FLUSHALL"});
    losses_.push_back(clock().now());
    run_to(0.5);
    redis_->kill_now();
    losses_.push_back(clock().now());
    run_to(0.6);
    leave(*nodes_[2], true);  // A crash that no store tells of.
    run_to(0.65);
    redis_->restart();
    losses_.push_back(clock().now());
    ASSERT_TRUE(run_until(io_, [&] { return all_up(); }));
    settle();
    race(100);
    run_to(0.8);
    join();
    run_to(0.9);
    leave(*nodes_[0], true);
    while (taken_ < schedule_.size()) run_until_taken(schedule_.size());
    check();
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    hearth::log::set_level(hearth::log::Level::kError);
    hearth::g_seed = std::random_device{}();
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        if (name == "--sessions") hearth::g_sessions = std::atoi(argv[i + 1]);
        if (name == "--seed") hearth::g_seed = std::strtoull(argv[i + 1], nullptr, 10);
    }
    return RUN_ALL_TESTS();
}
