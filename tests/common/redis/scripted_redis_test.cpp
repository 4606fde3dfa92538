// RedisStore against a server that answers what no test can make a real Redis answer on demand.
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "common/redis/redis_store.h"
#include "tests/support/run_task.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

const SessionKey kKey{1, 2};

// What to send for some received bytes on the n-th connection (from 0); "close" closes it.
using Script = std::function<std::string(int connection, std::string_view received)>;

// Not inlined: at -O1 g++ 12 then takes Asio's frame allocation for a mismatched new and delete.
[[gnu::noinline]] Task<void> serve_connection(Tcp::socket socket, int number,
                                              std::shared_ptr<const Script> script) {
    std::array<char, 4096> block{};
    boost::system::error_code failed;
    while (true) {
        const std::size_t size = co_await socket.async_read_some(
            asio::buffer(block), asio::redirect_error(asio::use_awaitable, failed));
        if (failed) co_return;
        std::string answer = (*script)(number, {block.data(), size});
        const bool closes = answer.ends_with("close");
        if (closes) answer.resize(answer.size() - 5);
        // Small enough for any socket buffer to take it whole.
        co_await socket.async_write_some(asio::buffer(answer),
                                         asio::redirect_error(asio::use_awaitable, failed));
        if (failed || closes) co_return;
    }
}

Task<void> serve(std::shared_ptr<Tcp::acceptor> acceptor, std::shared_ptr<const Script> script) {
    for (int number = 0;; ++number) {
        boost::system::error_code failed;
        Tcp::socket socket =
            co_await acceptor->async_accept(asio::redirect_error(asio::use_awaitable, failed));
        if (failed) co_return;
        const auto rethrow = [](std::exception_ptr thrown) {
            if (thrown) std::rethrow_exception(thrown);
        };
        asio::co_spawn(acceptor->get_executor(),
                       serve_connection(std::move(socket), number, script), rethrow);
    }
}

class ScriptedRedisTest : public testing::Test {
  protected:
    void start(Script script) {
        acceptor_ = std::make_shared<Tcp::acceptor>(
            io_, Tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0));
        const auto rethrow = [](std::exception_ptr thrown) {
            if (thrown) std::rethrow_exception(thrown);
        };
        asio::co_spawn(io_, serve(acceptor_, std::make_shared<const Script>(std::move(script))),
                       rethrow);
        options_.address = "127.0.0.1:" + std::to_string(acceptor_->local_endpoint().port());
        // A busy machine keeps these.
        options_.command_timeout = options_.lookup_timeout = std::chrono::seconds(10);
        store_ = std::make_unique<RedisStore>(io_, options_);
        store_->start();
    }
    bool becomes(bool up) {
        return run_task(io_, eventually(io_, [this, up] { return store_->up() == up; }));
    }
    Error lookup_error() {
        auto found = run_task(io_, store_->find_session(kKey));
        EXPECT_FALSE(found.ok());
        return found.ok() ? Error{} : found.error();
    }

    asio::io_context io_;
    RedisOptions options_;
    std::shared_ptr<Tcp::acceptor> acceptor_;
    std::unique_ptr<RedisStore> store_;
};

bool is_ping(std::string_view received) {
    return received.find("PING") != std::string_view::npos;
}

TEST_F(ScriptedRedisTest, WaitsWhileRedisLoads) {
    int refused = 0;
    start([&refused](int connection, std::string_view) -> std::string {
        if (connection >= 2) return "+PONG\r\n";
        ++refused;
        return "-LOADING Redis is loading the dataset in memory\r\n";
    });
    ASSERT_TRUE(becomes(true));
    EXPECT_EQ(refused, 2);
}

TEST_F(ScriptedRedisTest, EachErrorNamesTheReply) {
    std::string reply;
    start([&reply](int, std::string_view received) {
        return is_ping(received) ? "+PONG\r\n" : reply;
    });
    ASSERT_TRUE(becomes(true));
    for (const char* word : {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "NOPERM", "MISCONF"}) {
        reply = "-" + std::string(word) + " some words\r\n";
        const Error error = lookup_error();
        EXPECT_EQ(error.code, ErrorCode::kUnavailable);
        EXPECT_NE(error.message.find(word), std::string::npos) << error.message;
        EXPECT_TRUE(store_->up());
    }
}

TEST_F(ScriptedRedisTest, AnAnswerOfAnotherKindIsNoRecord) {
    std::string reply;
    start([&reply](int, std::string_view received) -> std::string {
        if (is_ping(received)) return "+PONG\r\n";
        std::string answers;  // One for each command.
        for (auto at = received.find("\r\n$7\r\nHGETALL"); at != std::string_view::npos;
             at = received.find("\r\n$7\r\nHGETALL", at + 1))
            answers += reply;
        return answers.empty() ? reply : answers;
    });
    ASSERT_TRUE(becomes(true));
    for (const char* odd :
         {"+OK\r\n", ":5\r\n", "$-1\r\n", "*-1\r\n", "*1\r\n$1\r\na\r\n", "*2\r\n*0\r\n:1\r\n"}) {
        reply = odd;
        const auto found = run_task(io_, store_->find_session(kKey));
        EXPECT_FALSE(found.ok() && found->has_value()) << odd;
        const auto nodes = run_task(io_, store_->nodes());
        if (nodes.ok()) {
            EXPECT_TRUE(nodes->empty()) << odd;
        }
        EXPECT_TRUE(store_->up());
    }
}

TEST_F(ScriptedRedisTest, GarbageEndsTheLinkAndANewOneIsMade) {
    for (const char* garbage :
         {"HTTP/1.1 400 Bad Request\r\n\r\n", "$-7\r\n", "+OK\r\n+AGAIN\r\n"}) {
        int connections = 0;
        start([&](int connection, std::string_view received) -> std::string {
            connections = connection + 1;
            return is_ping(received) ? "+PONG\r\n" : garbage;
        });
        ASSERT_TRUE(becomes(true));
        (void)run_task(io_, store_->find_session(kKey));  // The third one's first reply is good.
        ASSERT_TRUE(becomes(false)) << garbage;
        ASSERT_TRUE(becomes(true)) << garbage;
        EXPECT_EQ(connections, 2) << garbage;
    }
}

TEST_F(ScriptedRedisTest, AReplyThatIsCutShortIsAnErrorAtOnce) {
    start([](int, std::string_view received) -> std::string {
        return is_ping(received) ? "+PONG\r\n" : "*2\r\n$7\r\nnode_id\r\n$10\r\nhalfclose";
    });
    ASSERT_TRUE(becomes(true));
    EXPECT_EQ(lookup_error().code, ErrorCode::kUnavailable);
    EXPECT_FALSE(store_->up());
}

TEST_F(ScriptedRedisTest, ABusyPingMakesANewLink) {
    int pings = 0, connections = 0;
    start([&](int connection, std::string_view) -> std::string {
        connections = connection + 1;
        return ++pings == 2 ? "-BUSY Redis is busy running a script\r\n" : "+PONG\r\n";
    });
    ASSERT_TRUE(becomes(true));
    ASSERT_TRUE(becomes(false));  // With the watchdog's PING.
    ASSERT_TRUE(becomes(true));
    EXPECT_EQ(connections, 2);
}

TEST_F(ScriptedRedisTest, SlowRepliesOpenTheBreakerButDoNotCutTheLink) {
    // Look-ups are answered only with the next PING: late, yet Redis is alive.
    int connections = 0, owed = 0;
    start([&](int connection, std::string_view received) -> std::string {
        connections = connection + 1;
        if (!is_ping(received)) {
            ++owed;
            return "";
        }
        std::string answer;
        for (; owed > 0; --owed) answer += "*0\r\n";
        return answer + "+PONG\r\n";
    });
    ASSERT_TRUE(becomes(true));
    options_.lookup_timeout = milliseconds(2);
    store_ = std::make_unique<RedisStore>(io_, options_);
    store_->start();
    ASSERT_TRUE(becomes(true));
    const int before = connections;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 3; ++i) EXPECT_EQ(lookup_error().code, ErrorCode::kTimeout);
        EXPECT_FALSE(store_->up());
        EXPECT_EQ(lookup_error().code, ErrorCode::kUnavailable);
        ASSERT_TRUE(becomes(true));  // The PING that three misses send is answered.
    }
    EXPECT_EQ(connections, before);
}

}  // namespace
}  // namespace hearth
