// Conformance: what routers and nodes may expect of any MetadataStore, on the memory and Redis
// ones.
#include "common/redis/metadata_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "common/base/rng.h"
#include "common/redis/memory_store.h"
#include "common/redis/redis_store.h"
#include "tests/support/redis_process.h"
#include "tests/support/run_task.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong = std::chrono::minutes(10);
constexpr milliseconds kShort(500);  // Long enough for a look before it ends, on a busy machine.

// A store, and the way to let time pass for it.
class Subject {
  public:
    virtual ~Subject() = default;
    virtual MetadataStore& store() = 0;
    // Lets `passed` go by, or more.
    virtual void wait(milliseconds passed) = 0;
    asio::io_context io;
};

class MemorySubject final : public Subject {
  public:
    MetadataStore& store() override { return store_; }
    void wait(milliseconds passed) override { clock_.advance(passed.count() * kMs); }

  private:
    ManualClock clock_;
    MemoryStore store_{clock_};
};

class RedisSubject final : public Subject {
  public:
    RedisSubject() : store_(io, options()) {
        store_.start();
        EXPECT_TRUE(run_task(io, eventually(io, [this] { return store_.up(); })));
    }
    MetadataStore& store() override { return store_; }
    // A key with the same time to live, set now, is a clock that Redis itself reads.
    void wait(milliseconds passed) override {
        const std::string ttl = std::to_string(passed.count());
        ASSERT_EQ(redis_.ask({"SET", "clock", "1", "PX", ttl}).text, "OK");
        const auto expired = [this] { return redis_.ask({"EXISTS", "clock"}).integer == 0; };
        ASSERT_TRUE(run_task(io, eventually(io, expired)));
    }

  private:
    RedisOptions options() const {
        RedisOptions options;
        options.address = redis_.address();
        options.command_timeout = std::chrono::seconds(5);  // A busy machine is no failure here.
        options.lookup_timeout = std::chrono::seconds(5);
        return options;
    }
    RedisProcess redis_;
    RedisStore store_;
};

class MetadataStoreTest : public testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        const bool redis = std::string_view(GetParam()) == "redis";
        if (redis && !RedisProcess::available()) GTEST_SKIP() << "redis-server is not installed";
        if (redis)
            subject_ = std::make_unique<RedisSubject>();
        else
            subject_ = std::make_unique<MemorySubject>();
    }

    MetadataStore& store() { return subject_->store(); }
    template <typename T>
    T run(Task<T> task) {
        return run_task(subject_->io, std::move(task));
    }
    void publish(const std::string& id, const std::string& generation, milliseconds ttl = kLong) {
        NodeRecord record;
        record.node_id = id;
        record.generation = generation;
        record.address = "10.0.0.1:" + generation;
        record.state = NodeState::kReady;
        ASSERT_TRUE(run(store().publish_node(record, ttl)).ok());
    }
    // Node id -> generation.
    std::map<std::string, std::string> nodes() {
        auto listed = run(store().nodes());
        EXPECT_TRUE(listed.ok()) << listed.error().message;
        std::map<std::string, std::string> all;
        if (listed)
            for (const NodeRecord& record : *listed) {
                EXPECT_TRUE(all.emplace(record.node_id, record.generation).second) << "twice";
            }
        return all;
    }
    void publish(const SessionKey& key, const std::string& node, std::int64_t epoch,
                 milliseconds ttl = kLong) {
        const SessionRecord record{node, "g1", epoch, 100 * epoch, 2, "device"};
        ASSERT_TRUE(run(store().publish_session(key, record, ttl)).ok());
    }
    // "node/epoch", or "" when nothing is known.
    std::string owner(const SessionKey& key) {
        auto found = run(store().find_session(key));
        EXPECT_TRUE(found.ok()) << found.error().message;
        if (!found || !*found) return "";
        return (*found)->node_id + "/" + std::to_string((*found)->epoch);
    }

    std::unique_ptr<Subject> subject_;
};

const SessionKey kKey{1, 2}, kOther{1, 3};

TEST_P(MetadataStoreTest, IsUpAndEmptyAtFirst) {
    EXPECT_TRUE(store().up());
    EXPECT_TRUE(nodes().empty());
    EXPECT_EQ(owner(kKey), "");
}

TEST_P(MetadataStoreTest, NodesComeBackWithAllTheirFields) {
    NodeRecord record;
    record.node_id = "node-a";
    record.generation = "17";
    record.address = "[::1]:8101";
    record.state = NodeState::kDraining;
    record.model = "a model \"with\" spaces\r\nand lines";
    record.model_fingerprint = "c0ffee";
    record.weight = 0.1;
    record.queued_tokens = 1234567890123;
    record.prefill_tokens_per_s = 1e5 / 3;
    record.running = 1;
    record.waiting = 2;
    record.kv_bytes_used = 3;
    record.kv_bytes_max = 4;
    record.reused_tokens = 5;
    record.reusable_tokens = 6;
    record.prompt_tokens = 7;
    ASSERT_TRUE(run(store().publish_node(record, kLong)).ok());
    const auto listed = run(store().nodes());
    ASSERT_TRUE(listed.ok());
    ASSERT_EQ(listed->size(), 1u);
    EXPECT_EQ(to_fields((*listed)[0]), to_fields(record));
}

TEST_P(MetadataStoreTest, ManyNodesAreListedOnce) {
    for (int i = 0; i < 150; ++i) publish("node-" + std::to_string(i), "1");
    for (int i = 0; i < 150; i += 3) publish("node-" + std::to_string(i), "2");
    const auto all = nodes();
    EXPECT_EQ(all.size(), 150u);
    EXPECT_EQ(all.at("node-3"), "2");
    EXPECT_EQ(all.at("node-4"), "1");
}

TEST_P(MetadataStoreTest, RemoveTakesOnlyItsOwnGeneration) {
    publish("a", "1");
    publish("b", "1");
    publish("a", "2");  // The node was restarted before the old one said good-bye.
    ASSERT_TRUE(run(store().remove_node("a", "1")).ok());
    EXPECT_EQ(nodes(), (std::map<std::string, std::string>{{"a", "2"}, {"b", "1"}}));
    ASSERT_TRUE(run(store().remove_node("a", "2")).ok());
    EXPECT_EQ(nodes(), (std::map<std::string, std::string>{{"b", "1"}}));
    EXPECT_TRUE(run(store().remove_node("never-was", "1")).ok());
}

TEST_P(MetadataStoreTest, NodesExpireAndMayComeBack) {
    publish("stays", "1");
    publish("goes", "1", kShort);
    publish("renewed", "1", kShort);
    publish("renewed", "1");
    EXPECT_EQ(nodes().size(), 3u);
    subject_->wait(kShort + milliseconds(50));
    EXPECT_EQ(nodes(), (std::map<std::string, std::string>{{"stays", "1"}, {"renewed", "1"}}));
    publish("goes", "2");
    EXPECT_EQ(nodes().at("goes"), "2");
}

TEST_P(MetadataStoreTest, SessionsComeBackWithAllTheirFields) {
    const SessionRecord record{"node-a", "17", 3, 4096, 12, "device"};
    ASSERT_TRUE(run(store().publish_session(kKey, record, kLong)).ok());
    const auto found = run(store().find_session(kKey));
    ASSERT_TRUE(found.ok() && found->has_value());
    EXPECT_EQ(to_fields(**found), to_fields(record));
    EXPECT_EQ(owner(kOther), "");
}

TEST_P(MetadataStoreTest, AHigherEpochIsNotOverwritten) {
    publish(kKey, "a", 2);
    publish(kKey, "b", 1);  // Late, from the owner of before: accepted as a call, without effect.
    EXPECT_EQ(owner(kKey), "a/2");
    publish(kKey, "a", 2);
    EXPECT_EQ(owner(kKey), "a/2");
    publish(kKey, "c", 3);
    EXPECT_EQ(owner(kKey), "c/3");
    publish(kKey, "d", 10);  // Numbers, not texts: "10" < "9".
    publish(kKey, "e", 9);
    EXPECT_EQ(owner(kKey), "d/10");
}

TEST_P(MetadataStoreTest, AClaimTakesTheSessionUnderAHigherEpochOnly) {
    const auto claim = [&](const std::string& node, std::int64_t epoch, const std::string& from,
                           std::int64_t from_tokens) {
        SessionRecord wanted{node, "g1", epoch, 0, 0, "device"};
        wanted.from_node = from;
        wanted.from_tokens = from_tokens;
        auto stands = run(store().claim_session(kKey, wanted, kLong));
        EXPECT_TRUE(stands.ok());
        return stands ? *stands : SessionRecord{};
    };
    EXPECT_EQ(claim("a", 1, "", 0).node_id, "a");
    EXPECT_EQ(claim("b", 1, "", 0).node_id, "a") << "whoever came first";
    publish(kKey, "a", 1);
    EXPECT_EQ(claim("b", 1, "a", 7).tokens, 100) << "served meanwhile";
    // What the node has published of its tokens is better than what a router remembers.
    EXPECT_EQ(claim("b", 2, "a", 7).from_tokens, 100);
    EXPECT_EQ(owner(kKey), "b/2");
    EXPECT_EQ(claim("c", 3, "b", 50).from_tokens, 50) << "b has published nothing";
    publish(kKey, "c", 3);
    EXPECT_EQ(claim("d", 4, "x", 9).from_tokens, 9) << "c's tokens are not x's";
}

TEST_P(MetadataStoreTest, SessionsExpireAndThenAnyEpochIsNew) {
    publish(kKey, "a", 5, kShort);
    publish(kOther, "a", 5);
    EXPECT_EQ(owner(kKey), "a/5");
    subject_->wait(kShort + milliseconds(50));
    EXPECT_EQ(owner(kKey), "");
    EXPECT_EQ(owner(kOther), "a/5");
    publish(kKey, "b", 1);
    EXPECT_EQ(owner(kKey), "b/1");
}

TEST_P(MetadataStoreTest, PublishingAgainRenewsTheTimeToLive) {
    publish(kKey, "a", 1, kShort);
    publish(kKey, "a", 1);
    subject_->wait(kShort + milliseconds(50));
    EXPECT_EQ(owner(kKey), "a/1");
}

TEST_P(MetadataStoreTest, EraseForgets) {
    publish(kKey, "a", 5);
    ASSERT_TRUE(run(store().erase_session(kKey)).ok());
    EXPECT_EQ(owner(kKey), "");
    EXPECT_TRUE(run(store().erase_session(kKey)).ok());
    publish(kKey, "b", 1);
    EXPECT_EQ(owner(kKey), "b/1");
}

TEST_P(MetadataStoreTest, ItsMemoryKeepsTheFirstName) {
    EXPECT_EQ(*run(store().memory_name("one")), "one");
    EXPECT_EQ(*run(store().memory_name("two")), "one");
}

TEST_P(MetadataStoreTest, TheLastWordOnADrainStands) {
    EXPECT_TRUE(run(store().drains())->empty());
    ASSERT_TRUE(run(store().set_drained("node-a", true)).ok());
    ASSERT_TRUE(run(store().set_drained("node-a", true)).ok());
    ASSERT_TRUE(run(store().set_drained("node-b", true)).ok());
    ASSERT_TRUE(run(store().set_drained("node-a", false)).ok());
    const std::map<std::string, bool> expected = {{"node-a", false}, {"node-b", true}};
    EXPECT_EQ(*run(store().drains()), expected);
}

TEST_P(MetadataStoreTest, EventsAreAccepted) {
    EXPECT_TRUE(run(store().append_event("join", "node-a", "generation 1")).ok());
    EXPECT_TRUE(run(store().append_event("", "", std::string("\0\r\n", 3))).ok());
}

// Random calls against a model of two maps.
TEST_P(MetadataStoreTest, AgreesWithAModel) {
    constexpr std::uint64_t kSeed = 20261122;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    std::map<std::string, std::string> model_nodes;
    std::map<SessionKey, std::pair<std::string, std::int64_t>> model_sessions;
    for (int step = 0; step < 500; ++step) {
        const std::string id = "n" + std::to_string(rng.below(4));
        const std::string generation = std::to_string(rng.below(2));
        const SessionKey key{7, rng.below(5)};
        const auto epoch = static_cast<std::int64_t>(rng.below(12));
        switch (rng.below(5)) {
            case 0:
                publish(id, generation);
                model_nodes[id] = generation;
                break;
            case 1:
                ASSERT_TRUE(run(store().remove_node(id, generation)).ok());
                if (model_nodes.count(id) && model_nodes[id] == generation) model_nodes.erase(id);
                break;
            case 2:
            case 3: {
                publish(key, id, epoch);
                const auto held = model_sessions.find(key);
                const bool same = held != model_sessions.end() && held->second.first == id;
                if (held == model_sessions.end() || held->second.second < epoch ||
                    (same && held->second.second == epoch))
                    model_sessions[key] = {id, epoch};
                break;
            }
            default: ASSERT_TRUE(run(store().erase_session(key)).ok()); model_sessions.erase(key);
        }
        const auto held = model_sessions.find(key);
        ASSERT_EQ(owner(key), held == model_sessions.end()
                                  ? ""
                                  : held->second.first + "/" + std::to_string(held->second.second))
            << "step " << step;
        if (step % 10 == 0) {
            ASSERT_EQ(nodes(), model_nodes) << "step " << step;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Stores, MetadataStoreTest, testing::Values("memory", "redis"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(MemoryStore, ForgetsExpiredSessionsThatNobodyAsksFor) {
    asio::io_context io;
    ManualClock clock;
    MemoryStore store(clock);
    const SessionRecord record{"a", "1", 1, 1, 1, "device"};
    const auto publish = [&](std::uint64_t low) {
        EXPECT_TRUE(run_task(io, store.publish_session({9, low}, record, milliseconds(1000))).ok());
    };
    std::size_t most = 0;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        publish(i);
        clock.advance(10 * kMs);  // So 100 are alive at any time.
        most = std::max(most, store.sessions_held());
    }
    EXPECT_LE(most, 1024u);
    EXPECT_GE(store.sessions_held(), 100u);
}

}  // namespace
}  // namespace hearth
