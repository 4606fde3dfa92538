// RedisStore against a real redis-server that is killed, frozen, full, locked, or spoilt by others.
#include "tests/common/redis/redis_store_fixture.h"

namespace hearth {
namespace {

TEST_F(RedisStoreTest, KeysShareOneSlotAndRecordsExpire) {
    options_.cluster = "blue";
    start_both();
    ASSERT_TRUE(publish().ok());
    ASSERT_TRUE(publish_node("node-a").ok());
    ASSERT_TRUE(run(store_->append_event("join", "node-a", "g1")).ok());
    const Reply keys = redis_->ask({"KEYS", "*"});
    ASSERT_EQ(keys.items.size(), 4u);
    for (const Reply& key : keys.items) {
        EXPECT_TRUE(key.text.starts_with("hearth:{blue}:")) << key.text;
        const bool record = redis_->ask({"TYPE", key.text}).text == "hash";
        const auto ttl = redis_->ask({"PTTL", key.text}).integer;
        if (record) {
            EXPECT_GT(ttl, 590'000) << key.text;
            EXPECT_LE(ttl, 600'000) << key.text;
        }
    }
    const std::string session = "hearth:{blue}:session:" + kKey.hex();
    EXPECT_EQ(redis_->ask({"HGET", session, "node_id"}).text, "a");
    EXPECT_EQ(redis_->ask({"HGET", "hearth:{blue}:node:node-a", "generation"}).text, "1");
    const Reply events = redis_->ask({"XRANGE", "hearth:{blue}:events", "-", "+"});
    ASSERT_EQ(events.items.size(), 1u);
    const Reply& fields = events.items[0].items.at(1);
    ASSERT_EQ(fields.items.size(), 6u);
    EXPECT_EQ(fields.items[1].text, "join");
    EXPECT_EQ(fields.items[3].text, "node-a");
    EXPECT_EQ(fields.items[5].text, "g1");
}

TEST_F(RedisStoreTest, TheStreamOfEventsIsCapped) {
    start_both();
    // Redis trims whole nodes of 100 entries.
    for (int batch = 0; batch < 21; ++batch) {
        std::vector<std::shared_ptr<TaskOutcome<Result<void>>>> pending;
        for (int i = 0; i < 500; ++i)
            pending.push_back(start_task(io_, store_->append_event("k", "s", "d")));
        for (const auto& outcome : pending) {
            ASSERT_TRUE(finish_task(io_, outcome).ok());
        }
    }
    const auto length = redis_->ask({"XLEN", "hearth:{default}:events"}).integer;
    EXPECT_GE(length, 10'000);
    EXPECT_LT(length, 10'200);
}

TEST_F(RedisStoreTest, ACommandLargerThanTheSocketsBufferArrivesWhole) {
    start_both();
    std::string detail(8 << 20, 'x');
    for (std::size_t i = 0; i < detail.size(); i += 997) detail[i] = static_cast<char>(i);
    const auto large = start_task(io_, store_->append_event("k", "s", detail));
    const auto small = start_task(io_, store_->append_event("k", "s", "behind it"));
    ASSERT_TRUE(finish_task(io_, large).ok());
    ASSERT_TRUE(finish_task(io_, small).ok());
    const Reply events = redis_->ask({"XRANGE", "hearth:{default}:events", "-", "+"});
    ASSERT_EQ(events.items.size(), 2u);
    EXPECT_TRUE(events.items[0].items.at(1).items.at(5).text == detail);
    EXPECT_EQ(events.items[1].items.at(1).items.at(5).text, "behind it");
}

TEST_F(RedisStoreTest, TwoClustersDoNotSeeEachOther) {
    options_.cluster = "blue";
    start_both();
    ASSERT_TRUE(publish().ok());
    options_.cluster = "green";
    RedisStore green(io_, options_);
    green.start();
    ASSERT_TRUE(run(eventually(io_, [&green] { return green.up(); })));
    EXPECT_FALSE(run(green.find_session(kKey))->has_value());
}

TEST_F(RedisStoreTest, StartsWithoutRedisAndFindsItLater) {
    start_server();
    redis_->kill_now();
    start_store();
    EXPECT_FALSE(store_->up());
    Result<void> published;
    EXPECT_LT(seconds_of([&] { published = publish(); }), 0.1);
    EXPECT_EQ(published.error().code, ErrorCode::kUnavailable);
    redis_->restart();
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
}

TEST_F(RedisStoreTest, KilledInFlightFailsAtOnceAndRecovers) {
    options_.command_timeout = options_.lookup_timeout = std::chrono::seconds(60);
    start_both();
    ASSERT_TRUE(publish().ok());
    redis_->freeze();
    std::vector<std::shared_ptr<TaskOutcome<Result<void>>>> pending;
    for (int i = 0; i < 50; ++i)
        pending.push_back(start_task(io_, store_->publish_session(kKey, kRecord, kLong)));
    const auto lookup = start_task(io_, store_->find_session(kKey));
    const auto listing = start_task(io_, store_->nodes());
    io_.restart();
    for (int i = 0; i < 60; ++i) io_.poll();  // Everything is sent.
    redis_->kill_now();
    const double waited = seconds_of([&] {
        for (const auto& outcome : pending)
            EXPECT_EQ(finish_task(io_, outcome).error().code, ErrorCode::kUnavailable);
        EXPECT_EQ(finish_task(io_, lookup).error().code, ErrorCode::kUnavailable);
        EXPECT_EQ(finish_task(io_, listing).error().code, ErrorCode::kUnavailable);
    });
    EXPECT_LT(waited, 2.0);
    EXPECT_FALSE(store_->up());
    redis_->restart();
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
    EXPECT_TRUE(run(store_->find_session(kKey))->has_value());
}

TEST_F(RedisStoreTest, RecoversAgainAndAgain) {
    start_both();
    for (int round = 0; round < 3; ++round) {
        redis_->kill_now();
        ASSERT_TRUE(becomes(false));
        EXPECT_EQ(publish().error().code, ErrorCode::kUnavailable);
        redis_->restart();
        ASSERT_TRUE(becomes(true)) << "round " << round;
    }
}

TEST_F(RedisStoreTest, AFrozenRedisCostsItsDeadlineAndThenNothing) {
    options_.lookup_timeout = milliseconds(2);
    start_both();
    ASSERT_TRUE(publish().ok());
    redis_->freeze();
    for (int i = 0; i < 3; ++i) {
        Result<std::optional<SessionRecord>> found = std::optional<SessionRecord>();
        const double took = seconds_of([&] { found = run(store_->find_session(kKey)); });
        ASSERT_FALSE(found.ok());
        EXPECT_EQ(found.error().code, ErrorCode::kTimeout);
        EXPECT_GE(took, 0.002);
        EXPECT_LT(took, 0.25);  // 2 ms, and what a busy machine adds.
    }
    // Three in a row: from here calls fail without waiting, until Redis answers again.
    EXPECT_FALSE(store_->up());
    EXPECT_EQ(run(store_->find_session(kKey)).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(publish().error().code, ErrorCode::kUnavailable);
    redis_->thaw();
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
}

TEST_F(RedisStoreTest, AnIdleStoreNoticesAFrozenRedis) {
    options_.command_timeout = milliseconds(250);
    start_both();
    redis_->freeze();
    const double took = seconds_of([&] { ASSERT_TRUE(becomes(false)); });
    EXPECT_LT(took, 3.0);  // The gap of 0.5 s between two PINGs and their deadline of 0.25 s.
    redis_->thaw();
    EXPECT_TRUE(becomes(true));
}

TEST_F(RedisStoreTest, ALateReplyIsNotTakenForTheNextOne) {
    options_.command_timeout = std::chrono::seconds(60);  // Never cut: the same link throughout.
    options_.lookup_timeout = milliseconds(20);
    start_both();
    const SessionKey other{1, 3};
    SessionRecord record = kRecord;
    ASSERT_TRUE(publish().ok());
    record.node_id = "b";
    ASSERT_TRUE(run(store_->publish_session(other, record, kLong)).ok());
    redis_->freeze();
    EXPECT_EQ(run(store_->find_session(kKey)).error().code, ErrorCode::kTimeout);
    const auto counting = start_task(io_, store_->publish_session(other, record, kLong));
    io_.restart();
    io_.poll();
    redis_->thaw();
    ASSERT_TRUE(finish_task(io_, counting).ok());  // Behind the late reply, on the same link.
    Result<std::optional<SessionRecord>> found = make_error(ErrorCode::kTimeout, "");
    while (!found && found.error().code == ErrorCode::kTimeout)  // 20 ms can be short.
        found = run(store_->find_session(other));
    ASSERT_TRUE(found.ok() && found->has_value());
    EXPECT_EQ((*found)->node_id, "b");
    EXPECT_EQ(
        redis_->ask({"INFO", "clients"}).text.find("connected_clients:2") == std::string::npos,
        false);
}

TEST_F(RedisStoreTest, ThePipelineIsBounded) {
    options_.pipeline_max = 8;
    options_.command_timeout = std::chrono::seconds(60);
    start_both();
    redis_->freeze();
    std::vector<std::shared_ptr<TaskOutcome<Result<void>>>> pending;
    for (int i = 0; i < 20; ++i)
        pending.push_back(start_task(io_, store_->publish_session(kKey, kRecord, kLong)));
    io_.restart();
    for (int i = 0; i < 60; ++i) io_.poll();
    int refused = 0;
    for (const auto& outcome : pending)
        if (outcome->done()) {
            EXPECT_EQ(outcome->value->error().code, ErrorCode::kExhausted);
            ++refused;
        }
    EXPECT_GE(refused, 12);
    redis_->thaw();
    int done = 0;
    for (const auto& outcome : pending) done += finish_task(io_, outcome).ok() ? 1 : 0;
    EXPECT_EQ(done + refused, 20);
    EXPECT_TRUE(publish().ok());
}

TEST_F(RedisStoreTest, StoppingCancelsWhatWaits) {
    options_.command_timeout = options_.lookup_timeout = std::chrono::seconds(60);
    start_both();
    redis_->freeze();
    const auto a = start_task(io_, store_->publish_session(kKey, kRecord, kLong));
    const auto b = start_task(io_, store_->find_session(kKey));
    const auto c = start_task(io_, store_->nodes());
    io_.restart();
    for (int i = 0; i < 20; ++i) io_.poll();
    store_->stop();
    EXPECT_FALSE(store_->up());
    EXPECT_EQ(finish_task(io_, a).error().code, ErrorCode::kCancelled);
    EXPECT_EQ(finish_task(io_, b).error().code, ErrorCode::kCancelled);
    EXPECT_EQ(finish_task(io_, c).error().code, ErrorCode::kCancelled);
    EXPECT_EQ(publish().error().code, ErrorCode::kCancelled);
}

TEST_F(RedisStoreTest, DestroyingCancelsWhatWaits) {
    options_.command_timeout = options_.lookup_timeout = std::chrono::seconds(60);
    start_both();
    ASSERT_TRUE(publish_node("a").ok());
    redis_->freeze();
    const auto a = start_task(io_, store_->append_event("k", "s", "d"));
    const auto b = start_task(io_, store_->find_session(kKey));
    const auto c = start_task(io_, store_->nodes());
    io_.restart();
    for (int i = 0; i < 20; ++i) io_.poll();
    store_.reset();
    EXPECT_EQ(finish_task(io_, a).error().code, ErrorCode::kCancelled);
    EXPECT_EQ(finish_task(io_, b).error().code, ErrorCode::kCancelled);
    EXPECT_EQ(finish_task(io_, c).error().code, ErrorCode::kCancelled);
}

TEST_F(RedisStoreTest, AnIoContextMayGoFirst) {
    start_server();
    auto io = std::make_unique<asio::io_context>();
    auto store = std::make_unique<RedisStore>(*io, options_);
    store->start();
    ASSERT_TRUE(run_task(*io, eventually(*io, [&store] { return store->up(); })));
    store.reset();
    io.reset();  // Without running what the store's end left to do.
    SUCCEED();
}

TEST_F(RedisStoreTest, PasswordsUsersAndDatabases) {
    start_server({"--requirepass", "open sesame"});
    options_.password = "open sesame";
    options_.database = 3;
    start_store();
    ASSERT_TRUE(becomes(true));
    ASSERT_TRUE(publish().ok());
    store_.reset();

    // An ACL user with only what the store needs.
    RedisProcess locked({"--user", "default",   "off",      "--user",  "hearth",   "on",
                         ">pass",  "~hearth:*", "+ping",    "+select", "+eval",    "+type",
                         "+hset",  "+hget",     "+hgetall", "+del",    "+pexpire", "+sadd",
                         "+srem",  "+smembers", "+exists",  "+xadd"});
    options_ = patient();
    options_.address = locked.address();
    options_.username = "hearth";
    options_.password = "pass";
    start_store();
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
    EXPECT_TRUE(publish_node("a").ok());
    EXPECT_TRUE(run(store_->append_event("k", "s", "d")).ok());
    EXPECT_EQ(run(store_->nodes())->size(), 1u);
    EXPECT_TRUE(run(store_->remove_node("a", "1")).ok());
    EXPECT_TRUE(run(store_->find_session(kKey))->has_value());
    EXPECT_TRUE(run(store_->erase_session(kKey)).ok());
}

TEST_F(RedisStoreTest, AWrongPasswordIsSaidOnceAndNeverShown) {
    start_server({"--requirepass", "right"});
    options_.password = "wr0ng-secret";
    testing::internal::CaptureStderr();
    start_store();
    // Long enough for several attempts.
    EXPECT_FALSE(becomes(true, milliseconds(600)));
    EXPECT_EQ(publish().error().code, ErrorCode::kUnavailable);
    const std::string log = testing::internal::GetCapturedStderr();
    const auto first = log.find("WRONGPASS");
    ASSERT_NE(first, std::string::npos) << log;
    EXPECT_EQ(log.find("WRONGPASS", first + 1), std::string::npos) << log;
    EXPECT_EQ(log.find("wr0ng-secret"), std::string::npos);
    // The server really asks for a password.
    ASSERT_EQ(redis_->ask({"PING"}).text.substr(0, 6), "NOAUTH");
}

TEST_F(RedisStoreTest, NeitherKeysNorRecordsAreLogged) {
    testing::internal::CaptureStderr();
    log::set_level(log::Level::kDebug);
    start_both();
    EXPECT_TRUE(publish().ok());
    redis_->ask({"SET", "hearth:{default}:session:" + kKey.hex(), "v"});
    (void)run(store_->find_session(kKey));
    redis_->kill_now();
    EXPECT_TRUE(becomes(false));
    log::set_level(log::Level::kInfo);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("redis unavailable"), std::string::npos);
    EXPECT_EQ(log.find("session:"), std::string::npos) << log;
    EXPECT_EQ(log.find(kKey.hex()), std::string::npos) << log;
}

TEST_F(RedisStoreTest, AFullRedisIsAnErrorThatSaysSo) {
    start_both();
    ASSERT_TRUE(publish().ok());
    ASSERT_EQ(redis_->ask({"CONFIG", "SET", "maxmemory", "1"}).text, "OK");
    const auto full = publish();
    ASSERT_FALSE(full.ok());
    EXPECT_EQ(full.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(full.error().message.find("OOM"), std::string::npos) << full.error().message;
    EXPECT_FALSE(publish_node("a").ok());
    EXPECT_FALSE(run(store_->append_event("k", "s", "d")).ok());
    EXPECT_TRUE(run(store_->find_session(kKey))->has_value());  // Reading goes on.
    EXPECT_TRUE(store_->up());
    ASSERT_EQ(redis_->ask({"CONFIG", "SET", "maxmemory", "0"}).text, "OK");
    EXPECT_TRUE(publish().ok());
}

TEST_F(RedisStoreTest, AMasterThatBecameAReplicaIsLeft) {
    start_both();
    RedisProcess master;
    ASSERT_EQ(redis_->ask({"REPLICAOF", "127.0.0.1", std::to_string(master.port())}).text, "OK");
    // Connected to the new master, it refuses writes.
    const auto refused = [this] {
        return redis_->ask({"SET", "x", "y"}).text.starts_with("READONLY");
    };
    ASSERT_TRUE(run(eventually(io_, refused)));
    ASSERT_TRUE(becomes(true));
    const auto published = publish();
    ASSERT_FALSE(published.ok());
    EXPECT_NE(published.error().message.find("READONLY"), std::string::npos)
        << published.error().message;
    EXPECT_FALSE(store_->up());  // It connects anew, for the name may lead elsewhere by now.
    ASSERT_EQ(redis_->ask({"REPLICAOF", "NO", "ONE"}).text, "OK");
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
}

TEST_F(RedisStoreTest, SpoiltRecordsAreIgnoredAndReplaced) {
    start_both();
    ASSERT_TRUE(publish_node("good").ok());
    for (const char* id : {"text", "numbers", "impostor", "gone"})
        redis_->ask({"SADD", "hearth:{default}:nodes", id});
    redis_->ask({"SET", "hearth:{default}:node:text", "hello"});
    redis_->ask({"HSET", "hearth:{default}:node:numbers", "node_id", "numbers", "weight", "nan"});
    redis_->ask({"HSET", "hearth:{default}:node:impostor", "node_id", "good"});
    const auto listed = run(store_->nodes());
    ASSERT_TRUE(listed.ok()) << listed.error().message;
    ASSERT_EQ(listed->size(), 1u);
    EXPECT_EQ((*listed)[0].node_id, "good");
    EXPECT_EQ(redis_->ask({"SISMEMBER", "hearth:{default}:nodes", "gone"}).integer, 0);
    EXPECT_TRUE(publish_node("text").ok());
    EXPECT_TRUE(publish_node("numbers").ok());
    EXPECT_EQ(run(store_->nodes())->size(), 3u);

    const std::string session = "hearth:{default}:session:" + kKey.hex();
    redis_->ask({"SET", session, "hello"});
    EXPECT_FALSE(run(store_->find_session(kKey)).ok());
    EXPECT_TRUE(publish().ok());
    EXPECT_TRUE(run(store_->find_session(kKey))->has_value());
    redis_->ask({"HSET", session, "epoch", "many"});
    EXPECT_EQ(run(store_->find_session(kKey)).error().code, ErrorCode::kCorrupt);
    EXPECT_TRUE(publish().ok());
    EXPECT_EQ((**run(store_->find_session(kKey))).epoch, 1);
}

TEST_F(RedisStoreTest, FlushedMetadataComesBackWithTheNextHeartbeat) {
    start_both();
    ASSERT_TRUE(publish_node("a").ok());
    redis_->ask({"FLUSHALL"});
    EXPECT_TRUE(run(store_->nodes())->empty());
    ASSERT_TRUE(publish_node("a").ok());
    EXPECT_EQ(run(store_->nodes())->size(), 1u);
}

TEST_F(RedisStoreTest, FollowsTheOwnerOfItsSlotInACluster) {
    RedisProcess owner({"--cluster-enabled", "yes"});
    start_server({"--cluster-enabled", "yes"});
    ASSERT_EQ(owner.ask({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"}).text, "OK");
    ASSERT_EQ(redis_->ask({"CLUSTER", "MEET", "127.0.0.1", std::to_string(owner.port())}).text,
              "OK");
    // Both know that all is well, and the other member that the owner has the slot.
    const auto settled = [this, &owner] {
        for (const RedisProcess* member : {&owner, redis_.get()})
            if (member->ask({"CLUSTER", "INFO"}).text.find("cluster_state:ok") == std::string::npos)
                return false;
        return redis_->ask({"GET", "hearth:{default}:x"}).text.starts_with("MOVED");
    };
    ASSERT_TRUE(run(eventually(io_, settled, std::chrono::seconds(20))));
    start_store();
    ASSERT_TRUE(becomes(true));
    const auto first = publish();
    ASSERT_FALSE(first.ok());
    EXPECT_NE(first.error().message.find("MOVED"), std::string::npos) << first.error().message;
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish().ok());
    EXPECT_TRUE(publish_node("a").ok());
    EXPECT_EQ(run(store_->nodes())->size(), 1u);
    EXPECT_EQ(owner.ask({"EXISTS", "hearth:{default}:node:a"}).integer, 1);
}

// A redis-server that speaks TLS beside plain TCP, with a certificate for 127.0.0.1.
class RedisTlsTest : public RedisStoreTest {
  protected:
    // The port that TLS is spoken on; free a moment ago, so that another may have it by now.
    int start_tls_server() {
        const auto files = authority_.issue("redis", "IP:127.0.0.1");
        asio::io_context io;
        Tcp::acceptor probe(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        const int port = probe.local_endpoint().port();
        probe.close();
        start_server({"--tls-port", std::to_string(port), "--tls-cert-file", files.cert,
                      "--tls-key-file", files.key, "--tls-ca-cert-file", authority_.ca_file(),
                      "--tls-auth-clients", "no"});
        return port;
    }
    bool comes_up(int port, const std::string& ca_file) {
        TlsClientOptions tls;
        tls.ca_file = ca_file;
        RedisOptions options = patient();
        options.address = "127.0.0.1:" + std::to_string(port);
        options.tls = *TlsContext::client(tls);
        store_ = std::make_unique<RedisStore>(io_, options);
        store_->start();
        return run_task(io_, eventually(
                                 io_, [this] { return store_->up(); }, std::chrono::seconds(2)));
    }

    CertificateAuthority authority_;
};

TEST_F(RedisTlsTest, SpeaksTlsWithAServerThatItTrusts) {
    const int port = start_tls_server();
    ASSERT_TRUE(comes_up(port, authority_.ca_file()));
    // Longer than a record, both ways.
    NodeRecord node;
    node.node_id = "a";
    node.model = std::string(200'000, 'm');
    node.generation = "g1";
    node.address = "127.0.0.1:1";
    ASSERT_TRUE(run_task(io_, store_->publish_node(node, kLong)).ok());
    const auto nodes = run_task(io_, store_->nodes());
    ASSERT_TRUE(nodes.ok()) << nodes.error().message;
    ASSERT_EQ(nodes->size(), 1u);
    EXPECT_TRUE(nodes->front().model == node.model);
    store_->stop();
}

TEST_F(RedisTlsTest, RefusesAServerOfAnotherAuthority) {
    const int port = start_tls_server();
    const CertificateAuthority other("another CA");
    EXPECT_FALSE(comes_up(port, other.ca_file()));
    store_->stop();
}

}  // namespace
}  // namespace hearth
