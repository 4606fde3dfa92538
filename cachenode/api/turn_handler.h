// TurnHandler: one turn of any endpoint that makes one, from its head to its last byte.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/api_context.h"
#include "cachenode/api/call_reader.h"
#include "cachenode/api/chat_request.h"
#include "cachenode/api/continued_turn.h"
#include "cachenode/api/response_request.h"
#include "cachenode/api/response_writer.h"
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
    Result<TurnId> submit(TurnRequest turn, std::size_t choice);
    std::optional<ApiError> submit_others();
    void note_end(const TurnEvent& event);
    Task<void> relay_watched();
    Task<void> relay();
    Task<bool> take_streamed(const std::vector<TurnEvent>& events);
    Task<bool> take_whole(const std::vector<TurnEvent>& events);
    Task<bool> write(const std::string& bytes, bool last);

    // The body as it came: a continued turn's begins with the tokens that were delivered.
    std::optional<ApiError> open_body(std::string_view body);
    std::optional<ApiError> prepare(std::string_view body);
    std::optional<ApiError> prepare_chat(ChatRequest& request);
    std::optional<ApiError> prepare_response(std::string_view body);
    Task<bool> fetch_previous();
    std::unique_ptr<AnswerWriter> response_writer(std::int64_t created, bool logprobs);
    void keep_response(const Choice& choice);
    const char* prompt_param() const;
    Result<Prompt> render(ChatRequest& request);
    void add_headers(HeaderList& fields) const;  // Of an answer that began well.
    std::optional<ApiError> continue_turn();
    std::optional<ApiError> set_turn(const TurnOptions& asked, Result<Prompt> prompt);
    std::optional<ApiError> bind_reply(const TurnOptions& asked);
    std::optional<ApiError> set_max_tokens(const TurnOptions& asked);
    void start_writer(const TurnOptions& asked);
    std::optional<ApiError> failure_of(const TurnEvent& event) const;
    std::string last_events(const TurnEvent& event);
    std::string text_events(const TurnEvent& event);
    std::string piece_events(CallReader::Piece piece, const TurnEvent& event);
    void part_text(std::size_t choice);
    void end_choice(const TurnEvent& event);
    bool is_continuable(bool logprobs) const;
    void replay();
    std::string noted(std::string events);
    MadeCall made(engine::ToolCall call, std::size_t choice);

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
    std::vector<engine::TokenId> unnoted_;    // Whose text was in no event yet.
    std::string reply_id_;                    // Of the answer.
    std::unique_ptr<AnswerWriter> writer_;
    std::shared_ptr<TurnStream> stream_;
    // Of one prompt; the others are submitted behind the first's first token, so that they find
    // its KV. Theirs is the request in `others_`.
    std::vector<Choice> choices_;  // Texts of a whole answer, so far.
    std::optional<TurnRequest> others_;
    std::shared_ptr<std::vector<TurnId>> submitted_ = std::make_shared<std::vector<TurnId>>();
    std::size_t ended_ = 0;
    TurnUsage usage_;  // Of all that have ended.
    std::vector<std::string> ignored_;
    // Of /v1/responses: what is kept when the turn has ended.
    struct PendingResponse {
        std::string id;
        bool store = true;
        boost::json::object shown;
        Dialogue dialogue;                 // Without instructions and reply.
        ResponseWriter* writer = nullptr;  // writer_, as what it is.
    };
    std::optional<PendingResponse> response_;
    std::string missing_previous_;     // Id of a response that is not kept here; empty = none.
    std::vector<CallReader> readers_;  // Of each choice; none unless tools were offered.
};

}  // namespace hearth
