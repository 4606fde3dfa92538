// TurnStream: the bounded stream of one turn's events, from the scheduler's thread to a connection.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cachenode/scheduler/turn.h"
#include "common/net/asio.h"

namespace hearth {

// Shared by the scheduler's sink (push) and the connection's coroutine (everything else, on the
// io_context's thread). A reader that keeps up gets one event a token, so a stream's bytes do not
// depend on timing. Beyond kEventsMax waiting events tokens are merged: a slow reader costs bytes,
// not events, and never slows the scheduler. Beyond kBufferedBytesMax the turn is given up.
class TurnStream : public std::enable_shared_from_this<TurnStream> {
  public:
    static constexpr std::size_t kBufferedBytesMax = 1 << 20;
    static constexpr std::size_t kEventsMax = 2048;  // At most half of the bytes.

    explicit TurnStream(asio::any_io_executor executor)
        : executor_(std::move(executor)), wake_(executor_) {}

    void push(TurnEvent event);  // Any thread; does not block.

    // The events that came since the last call, in order; waits for the first. Empty when the
    // client has gone or the bound was exceeded: then cancel the turn.
    Task<std::vector<TurnEvent>> next();
    void client_gone();
    // Called once, on the connection's thread, when the bound is exceeded: the coroutine may hang
    // in a write to the client that does not read.
    void on_overflow(std::function<void()> give_up) { give_up_ = std::move(give_up); }

  private:
    void woken();

    asio::any_io_executor executor_;
    asio::steady_timer wake_;  // Cancelled to wake next(); never expires.
    bool gone_ = false;
    std::function<void()> give_up_;

    std::mutex mutex_;  // Guards what follows.
    std::vector<TurnEvent> events_;
    std::size_t buffered_bytes_ = 0;
    bool wake_posted_ = false;
    bool overflow_ = false;
};

}  // namespace hearth
