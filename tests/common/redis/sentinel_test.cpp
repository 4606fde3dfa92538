// RedisStore with real sentinels that name the master.
#include "tests/common/redis/redis_store_fixture.h"

namespace hearth {
namespace {

// A sentinel that has a master of that name; without replicas it decides nothing by itself.
class SentinelTest : public RedisStoreTest {
  protected:
    void start_sentinel(const std::string& name, const RedisProcess& master) {
        sentinel_ = std::make_unique<RedisProcess>(std::vector<std::string>{"--sentinel"});
        lead_to(name, master);
        options_.sentinels = {"127.0.0.1:1", sentinel_->address()};  // The first is down.
        options_.master_name = name;
        options_.address.clear();
    }
    void lead_to(const std::string& name, const RedisProcess& master) {
        sentinel_->ask({"SENTINEL", "REMOVE", name});
        const std::string port = std::to_string(master.port());
        ASSERT_EQ(sentinel_->ask({"SENTINEL", "MONITOR", name, "127.0.0.1", port, "1"}).text, "OK");
    }

    std::unique_ptr<RedisProcess> sentinel_;
};

TEST_F(SentinelTest, TheStoreFollowsTheMasterThatTheSentinelsName) {
    start_server();
    start_sentinel("hearth-main", *redis_);
    start_store();
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish_node("node-1").ok());
    EXPECT_EQ(redis_->ask({"SCARD", "hearth:{default}:nodes"}).integer, 1);

    RedisProcess successor;
    lead_to("hearth-main", successor);
    redis_->kill_now();
    ASSERT_TRUE(becomes(false));
    ASSERT_TRUE(becomes(true));
    EXPECT_TRUE(publish_node("node-2").ok());
    EXPECT_EQ(successor.ask({"SCARD", "hearth:{default}:nodes"}).integer, 1);
}

TEST_F(SentinelTest, AReplicaIsNotTakenForTheMaster) {
    RedisProcess master;
    start_server();
    ASSERT_EQ(redis_->ask({"REPLICAOF", "127.0.0.1", std::to_string(master.port())}).text, "OK");
    start_sentinel("m", *redis_);  // It has not noticed.
    testing::internal::CaptureStderr();
    start_store();
    EXPECT_FALSE(becomes(true, milliseconds(200)));
    lead_to("m", master);
    EXPECT_TRUE(becomes(true));
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("is no master: slave"), std::string::npos) << said;
}

TEST_F(SentinelTest, AMasterThatNobodyKnowsIsSaidWithItsName) {
    start_server();
    start_sentinel("m", *redis_);
    options_.master_name = "other";
    testing::internal::CaptureStderr();
    start_store();
    EXPECT_FALSE(becomes(true, milliseconds(200)));
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("knows no master named 'other'"), std::string::npos) << said;
}

}  // namespace
}  // namespace hearth
