// ChatServer: a coroutine for each session, all on the caller's thread.
#include "tests/bench/chat/chat_server.h"

#include <exception>
#include <utility>

#include "cli/run_task.h"

namespace hearth::bench {

Result<void> ChatServer::connect() {
    Result<std::vector<std::string>> models = std::vector<std::string>();
    const auto ask = [](ChatServer& self, Result<std::vector<std::string>>& out) -> Task<int> {
        out = co_await cli::list_models(self.client_, self.host_port_);
        co_return 0;
    };
    cli::run_task(io_, ask(*this, models));
    if (!models) return models.error();
    if (models->empty()) return make_error(ErrorCode::kUnavailable, host_port_ + " lists no model");
    model_ = models->front();
    return {};
}

void ChatServer::run(const std::vector<Conversation>& chats) {
    const Clock& clock = SystemClock::instance();
    const MonotonicNs begin = clock.now();
    cli::run_task(io_, sessions(chats));
    done_.seconds += seconds(clock.now() - begin);
}

// The last session to end wakes the one that waits.
Task<int> ChatServer::sessions(const std::vector<Conversation>& chats) {
    asio::steady_timer all_done(io_, asio::steady_timer::time_point::max());
    std::size_t left = chats.size();
    const auto on_end = [&left, &all_done](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
        if (--left == 0) all_done.cancel();
    };
    for (const Conversation& chat : chats) asio::co_spawn(io_, session(chat), on_end);
    boost::system::error_code woken;
    if (left > 0) co_await all_done.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    co_return 0;
}

// A session whose turn fails is over: its dialogue would not be the other servers'.
Task<void> ChatServer::session(const Conversation& chat) {
    std::vector<cli::Message> dialogue;
    dialogue.push_back({"system", chat.system});
    cli::TurnSettings settings;
    settings.router = host_port_;
    settings.model = model_;
    settings.session = chat.id;
    settings.max_tokens = reply_tokens_;
    settings.ignore_eos = true;
    for (std::size_t i = 0; i < chat.user_turns.size(); ++i) {
        dialogue.push_back({"user", chat.user_turns[i]});
        ChatTurn turn;
        turn.turn = static_cast<std::int64_t>(i) + 1;
        turn.result =
            co_await cli::run_turn(client_, SystemClock::instance(), settings, dialogue, nullptr);
        dialogue.push_back({"assistant", turn.result.text});
        const bool failed = !turn.result.error.empty();
        done_.turns.push_back(std::move(turn));
        if (failed) co_return;
    }
}

}  // namespace hearth::bench
