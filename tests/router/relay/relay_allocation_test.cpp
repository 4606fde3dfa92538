// A streamed chunk allocates nothing on its way from node to client once the stream runs.
#include <cstdlib>
#include <new>

#include "tests/router/fleet.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HEARTH_COUNTS_NEWS
#endif

namespace hearth {
namespace {

std::size_t g_news = 0;  // Of this program's one busy thread.

}  // namespace
}  // namespace hearth

#ifdef HEARTH_COUNTS_NEWS
void* operator new(std::size_t size) {
    ++hearth::g_news;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
#endif

namespace hearth {
namespace {

constexpr int kChunks = 1'000;
constexpr int kWarm = 300;  // Until caches and buffers have their size.

// One chunk is under way at a time: the node sends the next when the client has the last.
struct Lockstep {
    explicit Lockstep(asio::io_context& io) : taken_one(io, std::chrono::hours(1)) {}
    asio::steady_timer taken_one;
    int sent = 0, taken = 0;
    std::size_t news_when_warm = 0, news_at_end = 0;
    std::vector<char> buffer = std::vector<char>(4096);
};

Task<void> send_chunks(std::shared_ptr<Lockstep> shared, ServerExchange& exchange) {
    Lockstep& step = *shared;
    HeaderList headers{{"content-type", "text/event-stream"}};
    (void)co_await exchange.start_stream(200, std::move(headers));
    const std::string event = "data: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n";
    boost::system::error_code ignored;
    while (step.sent < kChunks) {
        ++step.sent;
        (void)co_await exchange.write(event);
        while (step.taken < step.sent)
            co_await step.taken_one.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    (void)co_await exchange.finish_stream();
}

Task<void> take_chunks(Lockstep& step, Tcp::socket& socket) {
    boost::system::error_code ec;
    bool ended = false;
    while (!ended && !ec) {
        const std::size_t n = co_await socket.async_read_some(
            asio::buffer(step.buffer), asio::redirect_error(asio::use_awaitable, ec));
        const std::string_view bytes(step.buffer.data(), n);
        for (std::size_t at = bytes.find("\n\n"); at != bytes.npos; at = bytes.find("\n\n", at + 2))
            ++step.taken;
        ended = bytes.ends_with("\r\n0\r\n\r\n") || bytes == "0\r\n\r\n";
        if (step.taken == kWarm) step.news_when_warm = g_news;
        if (step.taken == kChunks && step.news_at_end == 0) step.news_at_end = g_news;
        step.taken_one.cancel();
    }
}

using RelayAllocationTest = RouterTest;

TEST_F(RelayAllocationTest, NoneForAChunk) {
#ifndef HEARTH_COUNTS_NEWS
    GTEST_SKIP() << "sanitizers bring their own operator new";
#endif
    config_.health_interval_ms = config_.membership_refresh_ms = 60'000;  // Nothing else runs.
    start_with_store(1);
    const auto shared = std::make_shared<Lockstep>(io_);
    Lockstep& step = *shared;
    nodes_[0]->behaviour = [shared](FakeNode&, ServerExchange& exchange) {
        return send_chunks(shared, exchange);
    };
    Tcp::socket socket(io_);
    const std::uint16_t port = split_host_port(router_->endpoint())->second;
    socket.connect(Tcp::endpoint(asio::ip::address_v4::loopback(), port));
    const std::string body = kTurn;
    const std::string request =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-session-id: s\r\ncontent-length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    ASSERT_EQ(socket.write_some(asio::buffer(request)), request.size());
    run_until_done(io_, take_chunks(step, socket));
    ASSERT_EQ(step.taken, kChunks);
    EXPECT_GT(step.news_when_warm, 100u) << "the count does not count";
    EXPECT_EQ(step.news_at_end - step.news_when_warm, 0u)
        << "operator new ran during " << kChunks - kWarm << " chunks";
}

}  // namespace
}  // namespace hearth
