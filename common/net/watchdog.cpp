// One timer of the loop that it watches over.
#include "common/net/watchdog.h"

#include <utility>

namespace hearth {

Watchdog::Watchdog(asio::io_context& io, std::chrono::microseconds limit,
                   std::function<void()> beat)
    : timer_(io), period_(limit / 2), beat_(std::move(beat)) {
    if (period_.count() > 0) wait();
}

void Watchdog::wait() {
    beat_();
    timer_.expires_after(period_);
    timer_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) wait();
    });
}

}  // namespace hearth
