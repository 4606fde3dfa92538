// ServiceSignals: how a service is told to end, to read its files anew, and to end at once.
#pragma once

#include <functional>

#include "common/net/asio.h"

namespace hearth {

// Owned by main; one io_context. From its construction on SIGTERM and SIGINT mean an orderly end
// and SIGHUP a reload; a second SIGTERM or SIGINT ends the process at once with exit code 1, which
// the default action would not do for the first process of a container.
class ServiceSignals {
  public:
    explicit ServiceSignals(asio::io_context& io);

    void on_hangup(std::function<void()> reload);
    // Returns at the first SIGTERM or SIGINT, or when end() is called.
    Task<void> wait_for_end();
    void end();    // As the first signal would. Idempotent.
    void close();  // The loop may run out of work.

  private:
    void wait_for_hangup();
    void arm_second();

    asio::signal_set ends_, hangups_;
    std::function<void()> reload_;
    bool ended_ = false;
};

}  // namespace hearth
