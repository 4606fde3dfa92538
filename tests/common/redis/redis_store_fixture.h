// Test support: a RedisStore and the redis-server it talks to, one of each per test.
#pragma once

#include <gtest/gtest.h>

#include "common/base/log.h"
#include "common/redis/redis_store.h"
#include "tests/support/certificates.h"
#include "tests/support/redis_process.h"
#include "tests/support/run_task.h"

namespace hearth {

using std::chrono::milliseconds;

constexpr milliseconds kLong = std::chrono::minutes(10);
inline const SessionKey kKey{1, 2};
inline const SessionRecord kRecord{"a", "g1", 1, 100, 2, "device"};

// Deadlines that a busy machine keeps; tests about deadlines set their own.
inline RedisOptions patient() {
    RedisOptions options;
    options.command_timeout = options.lookup_timeout = std::chrono::seconds(10);
    return options;
}

class RedisStoreTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!RedisProcess::available()) GTEST_SKIP() << "redis-server is not installed";
    }
    void TearDown() override {
        // A store that was stopped leaves nothing behind.
        store_.reset();
        io_.restart();
        io_.run_for(std::chrono::seconds(5));
        EXPECT_TRUE(io_.stopped()) << "something still runs after the store is gone";
    }

    void start_server(std::vector<std::string> arguments = {}) {
        redis_ = std::make_unique<RedisProcess>(std::move(arguments));
        options_.address = redis_->address();
    }
    void start_store() {
        store_ = std::make_unique<RedisStore>(io_, options_);
        store_->start();
    }
    void start_both(std::vector<std::string> arguments = {}) {
        start_server(std::move(arguments));
        start_store();
        ASSERT_TRUE(becomes(true));
    }
    bool becomes(bool up, milliseconds limit = std::chrono::seconds(10)) {
        return run_task(io_, eventually(
                                 io_, [this, up] { return store_->up() == up; }, limit));
    }
    template <typename T>
    T run(Task<T> task) {
        return run_task(io_, std::move(task));
    }
    Result<void> publish(const SessionKey& key = kKey) {
        return run(store_->publish_session(key, kRecord, kLong));
    }
    Result<void> publish_node(const std::string& id) {
        NodeRecord record;
        record.node_id = id;
        record.generation = "1";
        return run(store_->publish_node(record, kLong));
    }
    // How long the act took.
    template <typename Act>
    double seconds_of(Act act) {
        const MonotonicNs began = SystemClock::instance().now();
        act();
        return seconds(SystemClock::instance().now() - began);
    }

    asio::io_context io_;
    RedisOptions options_ = patient();
    std::unique_ptr<RedisProcess> redis_;
    std::unique_ptr<RedisStore> store_;
};

}  // namespace hearth
