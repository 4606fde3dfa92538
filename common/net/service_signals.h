// ServiceSignals: how a service is told to end, to read its files anew, and to end at once.
#pragma once

#include <functional>

#include "common/net/asio.h"

namespace hearth {

// Owned by main; one io_context. From its construction on SIGTERM and SIGINT mean an orderly end
// and SIGHUP a reload, SIGUSR1 a drain if somebody wants it; a second SIGTERM or SIGINT ends the
// process at once with exit code 1, which the default action would not do for the first process of
// a container.
class ServiceSignals {
  public:
    explicit ServiceSignals(asio::io_context& io);

    void on_hangup(std::function<void()> reload);
    // SIGUSR1, which without this ends the process: stop taking work, and stay.
    void on_drain(std::function<void()> drain);
    // Returns at the first SIGTERM or SIGINT, or when end() is called.
    Task<void> wait_for_end();
    void end();    // As the first signal would. Idempotent.
    void close();  // The loop may run out of work.

  private:
    void wait_for_hangup();
    void wait_for_drain();
    void arm_second();

    asio::signal_set ends_, hangups_, drains_;
    std::function<void()> reload_, drain_;
    bool ended_ = false;
};

}  // namespace hearth
