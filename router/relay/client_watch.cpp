// wait_client_gone() as a child of the turn.
#include "router/relay/client_watch.h"

#include <exception>

namespace hearth {

void ClientWatch::start(asio::any_io_executor executor) {
    if (state_ != nullptr) return;
    state_ = std::make_shared<State>(executor);
    auto ended = [state = state_](std::exception_ptr, bool gone) {
        state->running = false;
        state->gone = gone;
        if (gone && state->upstream != nullptr) state->upstream->abort();
        if (gone && state->on_gone) state->on_gone();
        state->ended.cancel();
    };
    asio::co_spawn(executor, exchange_.wait_client_gone(),
                   asio::bind_cancellation_slot(state_->cancel.slot(), std::move(ended)));
}

void ClientWatch::guard(ClientExchange* upstream) {
    if (state_ != nullptr) state_->upstream = upstream;
}

Task<void> ClientWatch::end() {
    if (state_ == nullptr) co_return;
    state_->upstream = nullptr;
    if (state_->running) state_->cancel.emit(asio::cancellation_type::terminal);
    boost::system::error_code ignored;
    while (state_->running) {
        state_->ended.expires_at(asio::steady_timer::time_point::max());
        co_await state_->ended.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    state_ = nullptr;
}

}  // namespace hearth
