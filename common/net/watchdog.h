// Watchdog: tells a supervisor again and again that this process' event loop still turns.
#pragma once

#include <chrono>
#include <functional>

#include "common/net/asio.h"

namespace hearth {

// Owned by main; one io_context. Calls `beat` at once and every half `limit` from the loop itself,
// so that a loop that hangs is seen. Does nothing if `limit` is 0.
class Watchdog {
  public:
    Watchdog(asio::io_context& io, std::chrono::microseconds limit, std::function<void()> beat);

  private:
    void wait();

    asio::steady_timer timer_;
    const std::chrono::microseconds period_;
    const std::function<void()> beat_;
};

}  // namespace hearth
