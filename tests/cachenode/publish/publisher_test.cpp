// Publisher: heartbeats, the session queue with the store up and down, epochs, hints, leaving.
#include "cachenode/publish/publisher.h"

#include <gtest/gtest.h>
#include <deque>
#include <functional>
#include <map>

namespace hearth {
namespace {

using namespace std::chrono_literals;

// A store that can be switched off, and that notes what was written.
class SwitchedStore final : public MetadataStore {
  public:
    Task<Result<void>> publish_node(const NodeRecord& record,
                                    std::chrono::milliseconds ttl) override {
        ++heartbeats;
        last_ttl = ttl;
        if (!on) co_return down();
        nodes_[record.node_id] = record;
        co_return Result<void>();
    }
    Task<Result<void>> remove_node(const std::string& node_id, const std::string&) override {
        if (!on) co_return down();
        nodes_.erase(node_id);
        co_return Result<void>();
    }
    Task<Result<std::vector<NodeRecord>>> nodes() override {
        if (!on) co_return down();
        std::vector<NodeRecord> out;
        for (const auto& [id, record] : nodes_) out.push_back(record);
        co_return out;
    }
    Task<Result<void>> publish_session(const SessionKey& key, const SessionRecord& record,
                                       std::chrono::milliseconds) override {
        ++attempts;
        if (!on) co_return down();
        sessions_[key] = record;
        published.push_back(key);
        co_return Result<void>();
    }
    Task<Result<std::optional<SessionRecord>>> find_session(const SessionKey& key) override {
        ++lookups;
        if (!on) co_return down();
        std::optional<SessionRecord> out;
        if (sessions_.contains(key)) out = sessions_[key];
        co_return out;
    }
    Task<Result<SessionRecord>> claim_session(const SessionKey& key, const SessionRecord& record,
                                              std::chrono::milliseconds) override {
        const auto [place, is_new] = sessions_.try_emplace(key, record);
        if (place->second.epoch < record.epoch) place->second = record;
        co_return place->second;
    }
    Task<Result<void>> pin_session(const SessionKey& key, const std::string& node_id,
                                   std::chrono::milliseconds) override {
        sessions_[key].pin = node_id;
        co_return Result<void>();
    }
    Task<Result<void>> erase_session(const SessionKey& key) override {
        sessions_.erase(key);
        co_return Result<void>();
    }
    Task<Result<void>> set_drained(const std::string&, bool) override { co_return Result<void>(); }
    Task<Result<std::string>> memory_name(const std::string& candidate) override {
        co_return candidate;
    }
    Task<Result<std::map<std::string, bool>>> drains() override {
        co_return std::map<std::string, bool>{};
    }
    Task<Result<void>> append_event(std::string kind, std::string, std::string) override {
        if (!on) co_return down();
        events.push_back(kind);
        co_return Result<void>();
    }
    bool up() const override { return on; }

    static Error down() { return make_error(ErrorCode::kUnavailable, "switched off"); }

    bool on = true;
    int heartbeats = 0, attempts = 0, lookups = 0;
    std::chrono::milliseconds last_ttl{0};
    std::map<std::string, NodeRecord> nodes_;
    std::map<SessionKey, SessionRecord> sessions_;
    std::vector<SessionKey> published;
    std::vector<std::string> events;
};

SessionKey key(std::uint64_t n) {
    return {n, n + 1};
}

class PublisherTest : public ::testing::Test {
  protected:
    PublisherTest() {
        NodeMetricsFacts facts;
        facts.model = "m";
        facts.backend = "fake";
        metrics_ = std::make_shared<NodeMetrics>(facts);
        options_.node_id = "a";
        options_.generation = "g1";
        options_.heartbeat = 5ms;
    }

    Publisher& make() {
        publisher_ = std::make_unique<Publisher>(
            io_, options_, store_, [this] { return record(); }, metrics_, SystemClock::instance());
        return *publisher_;
    }

    NodeRecord record() const {
        NodeRecord out;
        out.node_id = options_.node_id;
        out.generation = options_.generation;
        out.running = running_;
        return out;
    }

    // Runs the loop until `done`; false after some seconds.
    bool until(const std::function<bool()>& done) {
        for (int i = 0; i < 2'000 && !done(); ++i) {
            io_.restart();
            io_.run_one_for(10ms);
        }
        return done();
    }

    SessionHint hint(const SessionKey& session, std::int64_t history, std::int64_t epoch = 0) {
        std::optional<SessionHint> out;
        asio::co_spawn(io_, publisher_->find_hint(session, history, epoch),
                       [&](std::exception_ptr, SessionHint found) { out = found; });
        EXPECT_TRUE(until([&] { return out.has_value(); }));
        return out.value_or(SessionHint{});
    }

    void leave() {
        bool left = false;
        asio::co_spawn(io_, publisher_->leave(), [&](std::exception_ptr) { left = true; });
        EXPECT_TRUE(until([&] { return left; }));
    }
    void flush() {
        bool flushed = false;
        asio::co_spawn(io_, publisher_->flush(), [&](std::exception_ptr) { flushed = true; });
        EXPECT_TRUE(until([&] { return flushed; }));
    }

    double dropped() const {
        const std::string page = metrics_->expose({}, NodeState::kReady, true);
        const std::string name = "\nhearth_directory_dropped_updates_total ";
        return std::stod(page.substr(page.find(name) + name.size()));
    }

    asio::io_context io_;
    SwitchedStore store_;
    PublisherOptions options_;
    std::int64_t running_ = 0;
    std::shared_ptr<NodeMetrics> metrics_;
    std::unique_ptr<Publisher> publisher_;
};

TEST_F(PublisherTest, HeartbeatsCarryTheCurrentRecord) {
    make().start();
    ASSERT_TRUE(until([&] { return store_.nodes_.contains("a"); }));
    EXPECT_EQ(store_.last_ttl, 15ms);
    running_ = 7;
    ASSERT_TRUE(until([&] { return store_.nodes_["a"].running == 7; }));
    EXPECT_EQ(store_.events, std::vector<std::string>{"join"});
}

TEST_F(PublisherTest, JoinsWhenTheStoreComesLate) {
    store_.on = false;
    make().start();
    ASSERT_TRUE(until([&] { return store_.heartbeats >= 25; }));
    EXPECT_TRUE(store_.events.empty());
    store_.on = true;
    ASSERT_TRUE(until([&] { return store_.nodes_.contains("a") && !store_.events.empty(); }));
    EXPECT_EQ(store_.events, std::vector<std::string>{"join"});
}

TEST_F(PublisherTest, LeavingRemovesTheRecordForGood) {
    make().start();
    ASSERT_TRUE(until([&] { return !store_.events.empty(); }));
    leave();
    EXPECT_FALSE(store_.nodes_.contains("a"));
    EXPECT_EQ(store_.events.back(), "leave");
    const int heartbeats = store_.heartbeats;
    flush();
    io_.restart();
    io_.run();  // Nothing is left to run: no loop, no timer.
    EXPECT_EQ(store_.heartbeats, heartbeats);
}

TEST_F(PublisherTest, TurnsThatEndAfterItLeftArePublished) {
    make().start();
    ASSERT_TRUE(until([&] { return !store_.events.empty(); }));
    leave();
    for (std::uint64_t n = 0; n < 5; ++n) publisher_->session_changed(key(n), 100, 1);
    flush();
    EXPECT_EQ(store_.published.size(), 5U);
    EXPECT_FALSE(store_.nodes_.contains("a"));
}

TEST_F(PublisherTest, SessionsWaitForAStoreThatIsDown) {
    store_.on = false;
    make().start();
    for (std::uint64_t n = 0; n < 3; ++n) publisher_->session_changed(key(n), 100, 1);
    ASSERT_TRUE(until([&] { return store_.attempts >= 3; }));
    EXPECT_TRUE(store_.published.empty());
    store_.on = true;
    ASSERT_TRUE(until([&] { return store_.published.size() == 3; }));
    EXPECT_EQ(store_.published, (std::vector<SessionKey>{key(0), key(1), key(2)}));
    const SessionRecord& record = store_.sessions_[key(0)];
    EXPECT_EQ(record.node_id, "a");
    EXPECT_EQ(record.generation, "g1");
    EXPECT_EQ(record.tokens, 100);
    EXPECT_EQ(record.turn, 1);
    EXPECT_EQ(record.epoch, 1);
    EXPECT_EQ(dropped(), 0);
}

TEST_F(PublisherTest, AFullQueueDropsTheOldest) {
    options_.queue_max = 2;
    store_.on = false;
    make().start();
    for (std::uint64_t n = 0; n < 5; ++n) publisher_->session_changed(key(n), 100, 1);
    EXPECT_EQ(publisher_->queued(), 2u);
    EXPECT_EQ(dropped(), 3);
    store_.on = true;
    ASSERT_TRUE(until([&] { return publisher_->queued() == 0 && store_.published.size() == 2; }));
    EXPECT_EQ(store_.published, (std::vector<SessionKey>{key(3), key(4)}));
}

TEST_F(PublisherTest, HintNamesAnotherNodeAndTheEpochGrows) {
    make();
    SessionRecord other;
    other.node_id = "b";
    other.generation = "g9";
    other.epoch = 4;
    other.tokens = 320;
    store_.sessions_[key(1)] = other;
    store_.nodes_["b"].node_id = "b";
    store_.nodes_["b"].generation = "g9";
    const SessionHint found = hint(key(1), 300);
    EXPECT_TRUE(found.known);
    EXPECT_TRUE(found.node_alive);
    EXPECT_EQ(found.tokens, 320);
    publisher_->start();
    publisher_->session_changed(key(1), 400, 5);
    ASSERT_TRUE(until([&] { return store_.sessions_[key(1)].node_id == "a"; }));
    EXPECT_EQ(store_.sessions_[key(1)].epoch, 5);
}

TEST_F(PublisherTest, ARouterThatDidNotKnowIsToldWhoHoldsTheSession) {
    make();
    SessionRecord other;
    other.node_id = "b";
    other.generation = "g9";
    other.epoch = 4;
    other.tokens = 320;
    store_.nodes_["b"].node_id = "b";
    store_.nodes_["b"].generation = "g9";
    for (std::uint64_t n = 1; n <= 3; ++n) store_.sessions_[key(n)] = other;
    const SessionHint stale = hint(key(1), 300, 3);
    EXPECT_EQ(stale.moved_to, "b");
    EXPECT_TRUE(stale.known);
    publisher_->start();
    publisher_->session_changed(key(1), 400, 5);
    ASSERT_TRUE(until([&] { return !store_.published.empty(); }));
    EXPECT_EQ(store_.sessions_[key(1)].epoch, 3) << "a real store keeps the higher epoch";
    // Not to one that knew and chose this node, and not when some of it is here.
    EXPECT_EQ(hint(key(2), 300, 5).moved_to, "");
    publisher_->session_changed(key(3), 200, 2);
    EXPECT_EQ(hint(key(3), 300, 3).moved_to, "");
}

TEST_F(PublisherTest, AClaimedSessionsHintIsWhomItCameFrom) {
    make();
    SessionRecord claim;
    claim.node_id = "a";
    claim.generation = "g1";
    claim.epoch = 5;
    claim.from_node = "b";
    claim.from_generation = "g9";
    claim.from_tokens = 320;
    store_.nodes_["b"].node_id = "b";
    store_.nodes_["b"].generation = "g9";
    store_.sessions_[key(1)] = claim;
    const SessionHint found = hint(key(1), 300, 5);
    EXPECT_TRUE(found.known);
    EXPECT_TRUE(found.node_alive);
    EXPECT_EQ(found.tokens, 320);
    EXPECT_EQ(found.moved_to, "");
    publisher_->start();
    publisher_->session_changed(key(1), 400, 5);
    ASSERT_TRUE(until([&] { return store_.sessions_[key(1)].tokens == 400; }));
    EXPECT_EQ(store_.sessions_[key(1)].epoch, 5);
    EXPECT_GT(store_.sessions_[key(1)].updated_ms, 0);
    EXPECT_GT(store_.sessions_[key(1)].since_ms, 0);
}

TEST_F(PublisherTest, ADeadNodeAndAnEarlierLifeOfThisOneAreNotAlive) {
    make();
    SessionRecord record;
    record.node_id = "b";
    record.generation = "g9";
    store_.sessions_[key(1)] = record;
    store_.nodes_["b"].node_id = "b";
    store_.nodes_["b"].generation = "g10";  // It came back without its memory.
    const SessionHint other = hint(key(1), 300);
    EXPECT_TRUE(other.known);
    EXPECT_FALSE(other.node_alive);
    record.node_id = "a";
    record.generation = "g0";
    record.epoch = 2;
    store_.sessions_[key(2)] = record;
    const SessionHint own = hint(key(2), 300);
    EXPECT_TRUE(own.known);
    EXPECT_FALSE(own.node_alive);
}

TEST_F(PublisherTest, AsksOnlyWhenItsOwnMemoryEndsEarly) {
    make();
    EXPECT_FALSE(hint(key(1), 0).known);  // A first turn.
    EXPECT_EQ(store_.lookups, 0);
    hint(key(1), 50);  // Unknown here.
    EXPECT_EQ(store_.lookups, 1);
    publisher_->session_changed(key(1), 100, 2);
    hint(key(1), 104);  // Our own last turn and its closing.
    EXPECT_EQ(store_.lookups, 1);
    hint(key(1), 180);  // Another node served a turn in between.
    EXPECT_EQ(store_.lookups, 2);
}

// Else this node would publish under its old epoch, which a store refuses.
TEST_F(PublisherTest, TheShortestTurnElsewhereIsNoticed) {
    make();
    hint(key(1), 50);
    publisher_->session_changed(key(1), 100, 2);
    SessionRecord other;
    other.node_id = "b";
    other.epoch = 2;
    other.tokens = 108;
    store_.sessions_[key(1)] = other;
    const SessionHint back = hint(key(1), 110);
    EXPECT_TRUE(back.known);
    EXPECT_EQ(back.tokens, 108);
    publisher_->start();
    publisher_->session_changed(key(1), 130, 4);
    ASSERT_TRUE(until([&] { return store_.sessions_[key(1)].tokens == 130; }));
    EXPECT_EQ(store_.sessions_[key(1)].epoch, 3);
}

TEST_F(PublisherTest, AStoreThatIsDownGivesAnEmptyHintAndIsAskedAgain) {
    make();
    store_.on = false;
    EXPECT_FALSE(hint(key(1), 50).known);
    publisher_->session_changed(key(1), 100, 2);
    EXPECT_FALSE(hint(key(1), 100).known);
    EXPECT_EQ(store_.lookups, 2);
}

TEST_F(PublisherTest, EndsQuietlyWhenDestroyed) {
    make().start();
    ASSERT_TRUE(until([&] { return store_.heartbeats > 0; }));
    publisher_.reset();
    io_.restart();
    io_.run();
    SUCCEED();
}

}  // namespace
}  // namespace hearth
