// Readiness: the order within a turn, an end behind bytes, and who still waits when the loop ends.
#include "common/net/readiness.h"

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <vector>

#include "common/net/tcp_stream.h"
#include "tests/common/net/loopback.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{5'000};

// A stream and the plain socket at its other end.
struct Pair {
    explicit Pair(asio::io_context& io) : peer(io) {
        Tcp::acceptor acceptor(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        peer.connect(acceptor.local_endpoint());
        stream = std::make_unique<TcpStream>(acceptor.accept(), std::make_shared<Deadlines>(io));
        stream->prepare();
    }
    void say(std::string_view bytes) {
        ASSERT_EQ(peer.write_some(asio::buffer(bytes)), bytes.size());
    }
    Tcp::socket peer;
    std::unique_ptr<TcpStream> stream;
};

Task<void> fill_and_look(TcpStream& own, TcpStream& other, std::size_t& seen, int& done) {
    const auto n = co_await own.fill(kPatience);
    EXPECT_TRUE(n.ok() && *n == 2);
    seen = other.unread().size();
    ++done;
}

TEST(ReadinessTest, AllReadsOfATurnComeBeforeAnybodyGoesOn) {
    asio::io_context io{1};
    Pair a(io), b(io);
    std::size_t seen_by_a = 0, seen_by_b = 0;
    int done = 0;
    asio::co_spawn(io, fill_and_look(*a.stream, *b.stream, seen_by_a, done),
                   [](std::exception_ptr) {});
    asio::co_spawn(io, fill_and_look(*b.stream, *a.stream, seen_by_b, done),
                   [](std::exception_ptr) {});
    io.poll();
    io.restart();
    a.say("to");
    b.say("to");
    ASSERT_TRUE(run_until(io, [&] { return done == 2; }));
    EXPECT_EQ(seen_by_a, 2u);
    EXPECT_EQ(seen_by_b, 2u);
}

TEST(ReadinessTest, ALoopInWhichNobodyWaitsHasNoWork) {
    asio::io_context io{1};
    Pair pair(io);
    std::size_t seen = 0;
    int done = 0;
    asio::co_spawn(io, fill_and_look(*pair.stream, *pair.stream, seen, done),
                   [](std::exception_ptr) {});
    pair.say("it");
    ASSERT_TRUE(run_until(io, [&] { return done == 1; }));
    pair.stream.reset();  // And with it the timer of its deadlines.
    io.restart();
    io.run_for(kPatience);
    EXPECT_TRUE(io.stopped()) << "it ended by itself, not by its time";
}

Task<void> fill_twice(TcpStream& stream, std::vector<std::size_t>& got) {
    for (int i = 0; i < 2; ++i) {
        const auto n = co_await stream.fill(kPatience);
        if (n.ok()) got.push_back(*n);
    }
}

TEST(ReadinessTest, AnEndThatCameWithTheLastBytesIsSeenBehindThem) {
    asio::io_context io{1};
    Pair pair(io);
    std::vector<std::size_t> got;
    asio::co_spawn(io, fill_twice(*pair.stream, got), [](std::exception_ptr) {});
    pair.say("last");
    pair.peer.shutdown(Tcp::socket::shutdown_send);
    ASSERT_TRUE(run_until(io, [&] { return got.size() == 2; }));
    EXPECT_EQ(got, (std::vector<std::size_t>{4, 0}));
}

// The coroutine owns its stream, as a connection's does.
Task<void> wait_in_vain(std::unique_ptr<TcpStream> stream, std::shared_ptr<int> token) {
    (void)co_await stream->fill(kPatience);
    ADD_FAILURE() << "nothing came, and nobody may be resumed: " << *token;
}

TEST(ReadinessTest, ALoopThatGoesAwayEndsWhoWaits) {
    const auto token = std::make_shared<int>(1);
    {
        asio::io_context io{1};
        Pair pair(io);
        asio::co_spawn(io, wait_in_vain(std::move(pair.stream), token), [](std::exception_ptr) {});
        io.poll();
        EXPECT_GT(token.use_count(), 1);
    }
    EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace hearth
