// ServiceSignals: the first signal, the second one, and SIGHUP.
#include "common/net/service_signals.h"

#include <unistd.h>

#include <csignal>

#include "common/base/log.h"

namespace hearth {

using boost::system::error_code;

ServiceSignals::ServiceSignals(asio::io_context& io)
    : ends_(io, SIGINT, SIGTERM), hangups_(io, SIGHUP), drains_(io) {
    wait_for_hangup();
}

void ServiceSignals::on_hangup(std::function<void()> reload) {
    reload_ = std::move(reload);
}

void ServiceSignals::wait_for_hangup() {
    hangups_.async_wait([this](const error_code& ec, int) {
        if (ec) return;
        wait_for_hangup();
        if (reload_) reload_();
    });
}

void ServiceSignals::on_drain(std::function<void()> drain) {
    drain_ = std::move(drain);
    drains_.add(SIGUSR1);
    wait_for_drain();
}

void ServiceSignals::wait_for_drain() {
    drains_.async_wait([this](const error_code& ec, int) {
        if (ec) return;
        wait_for_drain();
        drain_();
    });
}

Task<void> ServiceSignals::wait_for_end() {
    error_code ignored;
    if (!ended_) co_await ends_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    ended_ = true;
    arm_second();
}

void ServiceSignals::arm_second() {
    ends_.async_wait([](const error_code& ec, int signal) {
        if (ec) return;
        log::warn("ends at once: a second signal", {{"signal", signal}});
        log::flush();
        ::_exit(1);
    });
}

void ServiceSignals::end() {
    if (ended_) return;
    ended_ = true;
    ends_.cancel();
}

void ServiceSignals::close() {
    error_code ignored;
    ends_.cancel(ignored);
    hangups_.cancel(ignored);
    drains_.cancel(ignored);
}

}  // namespace hearth
