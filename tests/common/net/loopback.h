// Test support: runs coroutines to their end on one loop, and speaks raw bytes to a loopback port.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <exception>
#include <optional>
#include <string>

#include "common/net/asio.h"

namespace hearth {

// A test that waits longer than this hangs; it fails instead.
constexpr std::chrono::seconds kTestPatience{20};

// Runs the loop until `task` has ended; what it throws fails the test.
inline void run_until_done(asio::io_context& io, Task<void> task) {
    bool done = false;
    std::string thrown;
    asio::co_spawn(io, std::move(task), [&](std::exception_ptr error) {
        done = true;
        try {
            if (error) std::rethrow_exception(error);
        } catch (const std::exception& e) {
            thrown = e.what();
        }
        io.stop();
    });
    io.restart();
    io.run_for(kTestPatience);
    ASSERT_TRUE(done) << "the test hangs";
    ASSERT_EQ(thrown, "");
}

// Lets the loop run until `condition` holds; false if it never does.
template <typename Condition>
bool run_until(asio::io_context& io, Condition condition) {
    asio::steady_timer patience(io);
    bool over = false;
    patience.expires_after(kTestPatience);
    patience.async_wait([&](const boost::system::error_code& ec) { over = !ec; });
    io.restart();
    while (!condition() && !over && io.run_one() > 0) {
    }
    patience.cancel();
    io.restart();
    io.poll();
    return condition();
}

// A client that knows nothing of HTTP.
class RawClient {
  public:
    RawClient(asio::io_context& io, std::uint16_t port) : socket_(io) {
        socket_.connect(Tcp::endpoint(asio::ip::address_v4::loopback(), port));
        socket_.non_blocking(true);
    }

    Task<void> send(std::string bytes) {
        std::size_t sent = 0;
        boost::system::error_code ec;
        while (sent < bytes.size() && !ec) {
            const auto rest = asio::buffer(bytes.data() + sent, bytes.size() - sent);
            sent += co_await socket_.async_write_some(
                rest, asio::redirect_error(asio::use_awaitable, ec));
        }
    }

    // All bytes up to and including `marker` (or up to the end of the stream); the rest is kept.
    Task<std::string> read_until(std::string marker) {
        while (received_.find(marker) == std::string::npos && !ended_) co_await read_some();
        const std::size_t at = received_.find(marker);
        const std::size_t size = at == std::string::npos ? received_.size() : at + marker.size();
        std::string out = received_.substr(0, size);
        received_.erase(0, size);
        co_return out;
    }
    Task<std::string> read_to_end() {
        while (!ended_) co_await read_some();
        std::string out = std::move(received_);
        received_.clear();
        co_return out;
    }

    bool reset() const { return reset_; }  // The stream ended with RST, not with FIN.
    Tcp::socket& socket() { return socket_; }
    void close() { socket_.close(); }

  private:
    Task<void> read_some() {
        boost::system::error_code ec;
        const std::size_t n = co_await socket_.async_read_some(
            asio::buffer(bytes_), asio::redirect_error(asio::use_awaitable, ec));
        received_.append(bytes_.data(), n);
        ended_ = static_cast<bool>(ec);
        reset_ = ec == asio::error::connection_reset;
    }

    Tcp::socket socket_;
    std::array<char, 16384> bytes_;
    std::string received_;
    bool ended_ = false;
    bool reset_ = false;
};

}  // namespace hearth
