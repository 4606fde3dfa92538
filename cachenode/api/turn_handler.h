// TurnHandler: one turn of /v1/chat/completions or /v1/completions, from its head to its last byte.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/api_context.h"
#include "cachenode/api/chat_request.h"
#include "cachenode/api/continued_turn.h"
#include "cachenode/api/turn_headers.h"
#include "cachenode/api/turn_stream.h"

namespace hearth {

// Lives in its connection's coroutine. When it goes, however it goes, the scheduler no longer works
// on its turn.
class TurnHandler {
  public:
    TurnHandler(ApiContext& context, ServerExchange& exchange, Endpoint endpoint)
        : context_(context), exchange_(exchange), endpoint_(endpoint) {}
    ~TurnHandler();

    Task<void> serve();

  private:
    Task<std::optional<ApiError>> admit();
    Task<void> relay_watched();
    Task<void> relay();
    Task<bool> take_streamed(const std::vector<TurnEvent>& events);
    Task<bool> take_whole(const std::vector<TurnEvent>& events);
    Task<bool> write(const std::string& bytes, bool last);

    // The body as it came: a continued turn's begins with the tokens that were delivered.
    std::optional<ApiError> open_body(std::string_view body);
    std::optional<ApiError> prepare(std::string_view body);
    Result<Prompt> render(ChatRequest& request);
    void add_headers(HeaderList& fields) const;  // Of an answer that began well.
    std::optional<ApiError> continue_turn();
    std::optional<ApiError> set_turn(const TurnOptions& asked, Result<Prompt> prompt);
    std::optional<ApiError> set_max_tokens(const TurnOptions& asked);
    void start_writer(const TurnOptions& asked);
    std::optional<ApiError> failure_of(const TurnEvent& event) const;
    std::string last_events(const TurnEvent& event) const;
    void note_tokens(std::string& out, const TurnEvent& event) const;

    ApiContext& context_;
    ServerExchange& exchange_;
    const Endpoint endpoint_;
    TurnHeaders headers_;
    bool stream_wanted_ = false;
    DroppedTurns dropped_;  // By truncation; none unless it was asked for.
    std::string moved_to_;  // For the router: who holds the session; empty = nobody else.
    TurnRequest turn_;
    std::optional<ContinuedTurn> continued_;  // Another node's turn; its tokens are turn_.forced.
    std::string turn_text_;                   // hearth-turn of the answer; empty = not wanted.
    std::optional<ReplyWriter> writer_;
    std::shared_ptr<TurnStream> stream_;
    std::optional<TurnId> running_;  // Submitted, and its last event not seen yet.
    std::string text_;               // Of a whole answer, so far.
    std::vector<engine::Sampled> logprobs_;
};

}  // namespace hearth
