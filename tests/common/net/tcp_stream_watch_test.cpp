// TcpStream::watch(): the peer's end is told once, and the read that runs serves whoever reads
// next.
#include <gtest/gtest.h>

#include "common/net/tcp_stream.h"
#include "tests/common/net/loopback.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

class WatchTest : public testing::Test {
  protected:
    WatchTest() : deadlines_(std::make_shared<Deadlines>(io_)), peer_(io_) {
        Tcp::acceptor acceptor(io_, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        peer_.connect(acceptor.local_endpoint());
        stream_ = std::make_unique<TcpStream>(acceptor.accept(), deadlines_);
        stream_->prepare();
    }
    void watch() {
        stream_->watch([this] { ++gone_; });
    }
    void say(std::string_view bytes) {
        ASSERT_EQ(peer_.write_some(asio::buffer(bytes)), bytes.size());
    }
    static Task<void> fill(TcpStream& stream, milliseconds timeout, Result<std::size_t>& out) {
        out = co_await stream.fill(timeout);
    }
    Result<std::size_t> fill(milliseconds timeout = milliseconds(5'000)) {
        Result<std::size_t> out = std::size_t{0};
        run_until_done(io_, fill(*stream_, timeout, out));
        return out;
    }

    asio::io_context io_{1};
    std::shared_ptr<Deadlines> deadlines_;
    Tcp::socket peer_;
    std::unique_ptr<TcpStream> stream_;
    int gone_ = 0;
};

TEST_F(WatchTest, ThePeersEndIsToldOnce) {
    watch();
    peer_.shutdown(Tcp::socket::shutdown_send);
    ASSERT_TRUE(run_until(io_, [this] { return gone_ > 0; }));
    EXPECT_EQ(gone_, 1);
    stream_->unwatch();
    EXPECT_EQ(*fill(), 0u) << "the end that the watch saw is the reader's too";
    watch();
    EXPECT_EQ(gone_, 2) << "known already";
}

TEST_F(WatchTest, BytesAreKeptAndTheNextReadTakesTheRunningOneOver) {
    watch();
    say("one");
    ASSERT_TRUE(run_until(io_, [this] { return stream_->unread() == "one"; }));
    stream_->unwatch();
    stream_->consume(3);
    stream_->forget_kept();  // The read that runs was to write behind "one".
    say("two");
    EXPECT_EQ(*fill(), 3u);
    EXPECT_EQ(stream_->unread(), "two");
    EXPECT_EQ(gone_, 0);
    stream_->consume(3);
    say("three");
    EXPECT_EQ(*fill(), 5u) << "and reads are as ever after it";
    EXPECT_EQ(stream_->unread(), "three");
}

TEST_F(WatchTest, ATakenOverReadHasADeadlineAndLeavesTheStreamOpen) {
    watch();
    stream_->unwatch();
    const auto late = fill(milliseconds(20));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(stream_->open());
    say("late");
    EXPECT_EQ(*fill(), 4u);
    EXPECT_EQ(gone_, 0);
}

TEST_F(WatchTest, AFullBufferStillShowsAResetAndLaterWatchesTheEnd) {
    const std::string block(kStreamBufferBytes, 'x');
    watch();
    boost::system::error_code ignored;
    peer_.non_blocking(true);
    std::size_t sent = 0;
    while (sent < block.size()) {
        sent += peer_.write_some(asio::buffer(block.data() + sent, block.size() - sent), ignored);
        io_.poll();
        io_.restart();
    }
    ASSERT_TRUE(run_until(io_, [this] { return !stream_->has_room(); }));
    stream_->unwatch();
    stream_->consume(stream_->unread().size());
    watch();  // There is room again.
    peer_.shutdown(Tcp::socket::shutdown_send);
    ASSERT_TRUE(run_until(io_, [this] { return gone_ > 0; }));
}

TEST_F(WatchTest, AnOperationOutlivesItsStream) {
    watch();
    stream_.reset();
    io_.restart();
    io_.poll();
    EXPECT_EQ(gone_, 0);
}

}  // namespace
}  // namespace hearth
