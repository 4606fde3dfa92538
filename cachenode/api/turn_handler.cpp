// TurnHandler: read, check, render, submit; then events out as SSE or as one body.
#include "cachenode/api/turn_handler.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <utility>

#include "common/base/log.h"
#include "common/wire/headers.h"

namespace hearth {

namespace {

constexpr std::string_view kJson = "application/json";

ApiError not_serving() {
    const Error error = make_error(ErrorCode::kUnavailable,
                                   "This node takes no new turns: it is starting or draining.");
    return api_error_from(error, 1);
}

// wait_client_gone() as a child of the turn: the parent ends it and waits for its end.
class GoneWatch {
  public:
    GoneWatch(asio::any_io_executor executor, ServerExchange& exchange,
              std::shared_ptr<TurnStream> stream)
        : state_(std::make_shared<State>(executor)) {
        auto ended = [state = state_, stream](std::exception_ptr, bool gone) {
            state->running = false;
            if (gone) stream->client_gone();
            state->wake.cancel();
        };
        asio::co_spawn(executor, exchange.wait_client_gone(),
                       asio::bind_cancellation_slot(state_->signal.slot(), std::move(ended)));
    }

    Task<void> end() {
        if (state_->running) state_->signal.emit(asio::cancellation_type::terminal);
        while (state_->running) {
            state_->wake.expires_at(asio::steady_timer::time_point::max());
            boost::system::error_code ignored;
            co_await state_->wake.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
    }

  private:
    struct State {
        explicit State(const asio::any_io_executor& executor) : wake(executor) {}
        asio::cancellation_signal signal;
        asio::steady_timer wake;
        bool running = true;
    };
    std::shared_ptr<State> state_;
};

}  // namespace

TurnHandler::~TurnHandler() {
    if (ended_ == choices_.size()) return;
    for (const TurnId id : *submitted_) context_.parts.scheduler->cancel(id);
}

Task<void> TurnHandler::serve() {
    turn_.arrived = context_.parts.clock->now();
    std::optional<ApiError> error = read_turn_headers(exchange_.head(), headers_);
    if (headers_.request_id.empty()) headers_.request_id = context_.fresh_id("req-");
    if (!error && context_.state != NodeState::kReady) error = not_serving();
    if (!error) {
        const std::size_t limit = context_.options.body_bytes_max;
        RequestBody body(context_.bodies);
        const Result<void> read = co_await body.read(exchange_, limit);
        if (read.ok()) error = open_body(body.text());
        if (!missing_previous_.empty()) {
            const bool has_come = co_await fetch_previous();
            if (has_come) error = open_body(body.text());
        }
        if (!read.ok()) error = body_error(read.error(), limit);
    }
    if (!error) error = co_await admit();
    if (error) {
        co_await context_.fail(exchange_, *error, headers_.request_id);
        co_return;
    }
    co_await relay_watched();
}

std::optional<ApiError> TurnHandler::prepare(std::string_view body) {
    const PromptRenderer& prompts = *context_.parts.prompts;
    const std::int32_t vocabulary = prompts.tokenizer().size();
    if (endpoint_ == Endpoint::kCompletion) {
        CompletionRequest request;
        if (auto error = parse_completion_request(body, vocabulary, request)) return error;
        if (auto error = context_.check_model(request.model)) return error;
        return set_turn(request.options, prompts.render(request));
    }
    if (endpoint_ == Endpoint::kResponse) return prepare_response(body);
    ChatRequest request;
    if (auto error = parse_chat_request(body, vocabulary, request)) return error;
    if (auto error = context_.check_model(request.model)) return error;
    return prepare_chat(request);
}

const char* TurnHandler::prompt_param() const {
    switch (endpoint_) {
        case Endpoint::kChat: return "messages";
        case Endpoint::kCompletion: return "prompt";
        case Endpoint::kResponse: break;
    }
    return "input";
}

std::optional<ApiError> TurnHandler::prepare_chat(ChatRequest& request) {
    const PromptRenderer& prompts = *context_.parts.prompts;
    const ToolOptions& tools = request.tools;
    const engine::ToolFormat format = prompts.chat_template().tool_format();
    if (auto error = check_tools(tools, request.messages, format)) return error;
    const bool is_bound = request.options.grammar.has_value() || tools.must_call();
    const std::string param = response_ ? "text.format" : "response_format";
    if (auto error = bind_calls(tools, format, param, request.options.grammar)) return error;
    const CallReader reader(format, tools.parallel, is_bound);
    if (tools.offered()) readers_.resize(static_cast<std::size_t>(request.options.choices), reader);
    if (auto error = set_turn(request.options, render(request))) return error;
    const std::vector<std::string>& stops = prompts.chat_template().stop_strings();
    turn_.stop.insert(turn_.stop.end(), stops.begin(), stops.end());
    const bool has_tools = tools.offered(), opens = tools.must_call();
    turn_.canonical_reply = [shared = context_.parts.prompts, has_tools, reader,
                             opens](const std::string& reply) {
        const engine::ChatTemplate& chat = shared->chat_template();
        std::vector<engine::TokenId> ids;
        if (has_tools)
            chat.render_reply(reply_message(reader, reply), ids, opens);
        else
            chat.render_reply(reply, ids);
        return ids;
    };
    return std::nullopt;
}

// Without the oldest turns where the dialogue is too long and that is wanted.
Result<Prompt> TurnHandler::render(ChatRequest& request) {
    const PromptRenderer& prompts = *context_.parts.prompts;
    const TurnOptions& asked = request.options;
    const engine::ChatTools tools =
        chat_tools(request.tools, prompts.chat_template().tool_format());
    if (!asked.truncates.value_or(context_.options.truncates))
        return prompts.render(request.messages, tools);
    const std::int64_t room = std::min(prompts.context_length(), context_.options.kv_tokens_max);
    const std::int64_t usual = context_.options.default_max_tokens;
    // What the reply may take, or a quarter where nobody says.
    const std::int64_t reply = asked.max_tokens.value_or(usual > 0 ? usual : room / 4);
    const std::int64_t budget = std::max<std::int64_t>(1, room - std::min(reply, room / 2));
    return prompts.render_truncated(request.messages, budget,
                                    context_.options.truncation_step_tokens, dropped_, tools);
}

void TurnHandler::add_headers(HeaderList& fields) const {
    if (!moved_to_.empty()) fields.emplace_back(header::kMovedTo, moved_to_);
    if (!ignored_.empty()) {
        std::string names;
        for (const std::string& name : ignored_) names += (names.empty() ? "" : ", ") + name;
        fields.emplace_back(header::kIgnoredFields, names);
    }
    if (dropped_.count() == 0) return;
    fields.emplace_back(header::kTruncated, "messages=" + std::to_string(dropped_.count()) +
                                                ";tokens=" + std::to_string(dropped_.tokens));
}

std::optional<ApiError> TurnHandler::set_turn(const TurnOptions& asked, Result<Prompt> prompt) {
    if (!prompt.ok()) {
        ApiError error = api_error_from(prompt.error(), 0);
        error.param = prompt_param();
        return error;
    }
    turn_.prompt = std::move(prompt->tokens);
    turn_.history_tokens = prompt->history_tokens;
    turn_.session = headers_.session;
    turn_.salt = headers_.salt;
    turn_.sampling = asked.sampling;
    if (!asked.seeded) turn_.sampling.seed = context_.rng.next();
    turn_.min_tokens = asked.min_tokens;
    turn_.ignore_eos = asked.ignore_eos;
    turn_.stop = asked.stop;
    turn_.stop_token_ids = asked.stop_token_ids;
    turn_.cache_read = turn_.cache_write = asked.cache_prompt;
    if (headers_.follow_up_bonus_s) turn_.follow_up_bonus = *headers_.follow_up_bonus_s * kSecond;
    turn_.keep_for = headers_.keep_s * kSecond;
    if (headers_.deadline_ms) turn_.deadline = turn_.arrived + *headers_.deadline_ms * kMs;
    stream_wanted_ = asked.stream;
    choices_.resize(static_cast<std::size_t>(asked.choices));
    ignored_ = asked.ignored;
    if (auto error = bind_reply(asked)) return error;
    if (auto error = set_max_tokens(asked)) return error;
    if (continued_)
        if (auto error = continue_turn()) return error;
    start_writer(asked);
    return std::nullopt;
}

// To the grammar that was asked for, if any.
std::optional<ApiError> TurnHandler::bind_reply(const TurnOptions& asked) {
    if (!asked.grammar) return std::nullopt;
    const auto& trie = context_.parts.prompts->token_trie();
    if (!trie)
        return invalid_field(readers_.empty() ? "response_format" : "tool_choice",
                             "unsupported_value",
                             "This model's vocabulary lacks bytes that JSON may need.");
    turn_.grammar =
        std::make_shared<const engine::TokenGrammar>(engine::TokenGrammar{*asked.grammar, trie});
    return std::nullopt;
}

std::optional<ApiError> TurnHandler::set_max_tokens(const TurnOptions& asked) {
    const auto used = static_cast<std::int64_t>(turn_.prompt.size());
    const std::int64_t context_left = context_.parts.prompts->context_length() - used;
    if (asked.max_tokens && *asked.max_tokens > context_left) {
        const std::string limit = std::to_string(context_left + used);
        return invalid_field(prompt_param(), "context_length_exceeded",
                             "The model's context holds " + limit + " tokens; the prompt has " +
                                 std::to_string(used) + " and the reply may have " +
                                 std::to_string(*asked.max_tokens) + ".");
    }
    std::int64_t most = std::min(context_left, context_.options.kv_tokens_max - used);
    if (context_.options.default_max_tokens > 0)
        most = std::min(most, context_.options.default_max_tokens);
    turn_.max_tokens = asked.max_tokens.value_or(std::max<std::int64_t>(most, 1));
    turn_.min_tokens = std::min(turn_.min_tokens, turn_.max_tokens);
    return std::nullopt;
}

void TurnHandler::start_writer(const TurnOptions& asked) {
    const bool logprobs = asked.sampling.top_logprobs >= 0;
    const std::int64_t created =
        continued_ ? continued_->created : context_.parts.clock->unix_now() / 1000;
    reply_id_ = context_.fresh_id(endpoint_ == Endpoint::kChat ? "chatcmpl-" : "cmpl-");
    if (response_) reply_id_ = response_->id;
    if (continued_) reply_id_ = continued_->id;
    if (is_continuable(logprobs)) {
        turn_.wants_tokens = true;
        turn_text_ = to_text({reply_id_, created, turn_.sampling.seed, turn_.max_tokens,
                              std::ssize(turn_.prompt), context_.options.fingerprint});
    }
    if (response_) {
        response_->id = reply_id_;
        writer_ = response_writer(created, logprobs);
        return;
    }
    ReplyHead head;
    head.endpoint = endpoint_;
    head.id = reply_id_;
    head.created = created;
    head.model = context_.options.model.name;
    head.fingerprint = context_.options.fingerprint;
    head.logprobs = logprobs;
    head.include_usage = asked.include_usage;
    head.choices = choices_.size();
    writer_ = std::make_unique<ReplyWriter>(std::move(head), context_.parts.prompts->tokenizer());
    writer_->skip(turn_.forced);
}

Task<std::optional<ApiError>> TurnHandler::admit() {
    Publisher* publisher = context_.parts.publisher.get();
    if (publisher != nullptr && turn_.session) {
        const SessionKey key = *turn_.session;
        turn_.hint = co_await publisher->find_hint(key, turn_.history_tokens, headers_.epoch);
        moved_to_ = turn_.hint.moved_to;
        const auto& migrator = context_.parts.migrator;
        if (migrator && turn_.cache_read && !turn_.hint.holder.empty()) {
            const double speed = context_.parts.scheduler->stats()->prefill_tokens_per_s;
            turn_.from_peer = co_await migrator->fetch(turn_, speed);
        }
    }
    stream_ = std::make_shared<TurnStream>(co_await asio::this_coro::executor);
    if (choices_.size() > 1) {
        others_ = turn_;
        others_->session.reset();  // The first reply is the one that the session's record tells of.
        others_->hint = {};
        others_->history_tokens = others_->from_peer = 0;
    }
    const Result<TurnId> id = submit(std::move(turn_), 0);
    if (!id.ok()) {
        ApiError error = api_error_from(id.error(), context_.retry_after_s());
        if (error.status == 400) error.param = prompt_param();
        co_return error;
    }
    if (dropped_.count() > 0) context_.parts.metrics->truncated(dropped_.tokens);
    stream_->on_overflow([scheduler = context_.parts.scheduler, submitted = submitted_] {
        for (const TurnId turn : *submitted) scheduler->cancel(turn);
    });
    co_return std::nullopt;
}

Result<TurnId> TurnHandler::submit(TurnRequest turn, std::size_t choice) {
    turn.sink = [stream = stream_, choice](TurnEvent event) {
        event.choice = choice;
        stream->push(std::move(event));
    };
    Result<TurnId> id = context_.parts.scheduler->submit(std::move(turn));
    if (id.ok()) submitted_->push_back(*id);
    return id;
}

std::optional<ApiError> TurnHandler::submit_others() {
    if (!others_) return std::nullopt;
    const TurnRequest request = std::move(*others_);
    others_.reset();
    for (std::size_t choice = 1; choice < choices_.size(); ++choice) {
        TurnRequest turn = request;
        turn.sampling.seed += choice;
        const Result<TurnId> id = submit(std::move(turn), choice);
        if (!id.ok()) return api_error_from(id.error(), context_.retry_after_s());
    }
    return std::nullopt;
}

// Prompt and cache are the first choice's; the tokens written are everybody's.
void TurnHandler::note_end(const TurnEvent& event) {
    ++ended_;
    const std::int64_t written = usage_.completion_tokens + event.usage.completion_tokens;
    if (event.choice == 0) usage_ = event.usage;
    usage_.completion_tokens = written;
}

Task<void> TurnHandler::relay_watched() {
    // A cut connection shows by its socket and the watch; to be thrown out of a wait instead would
    // leave the watch running without its parent.
    co_await asio::this_coro::throw_if_cancelled(false);
    GoneWatch watch(co_await asio::this_coro::executor, exchange_, stream_);
    std::exception_ptr failure;
    try {
        co_await relay();
    } catch (...) {
        failure = std::current_exception();
    }
    co_await watch.end();
    co_await asio::this_coro::throw_if_cancelled(true);
    // The client has gone; nobody to answer. A failure of ours gets its 500 from the server.
    if (!failure && !exchange_.answered()) exchange_.abort();
    if (failure) std::rethrow_exception(failure);
}

Task<void> TurnHandler::relay() {
    bool more = true;
    while (more) {
        const std::vector<TurnEvent> events = co_await stream_->next();
        if (events.empty()) co_return;  // The client has gone; the destructor cancels.
        const std::optional<ApiError> refused = submit_others();
        if (refused) {  // The queue is full; nothing has been written yet.
            co_await context_.fail(exchange_, *refused, headers_.request_id);
            co_return;
        }
        if (stream_wanted_) {
            more = co_await take_streamed(events);
        } else {
            more = co_await take_whole(events);
        }
    }
}

std::optional<ApiError> TurnHandler::failure_of(const TurnEvent& event) const {
    if (event.kind == TurnEvent::Kind::kFailed)
        return api_error_from(event.error, context_.retry_after_s());
    const bool cut =
        event.finish == FinishReason::kCancelled || event.finish == FinishReason::kError;
    if (event.kind != TurnEvent::Kind::kDone || !cut) return std::nullopt;
    const Error error = make_error(ErrorCode::kCancelled, "The node ended this turn.");
    return api_error_from(error, 1);
}

// Writes one batch of events; true while more are to come.
Task<bool> TurnHandler::take_streamed(const std::vector<TurnEvent>& events) {
    std::string out;
    if (!exchange_.answered()) {
        if (const auto failure = failure_of(events.front())) {
            co_await context_.fail(exchange_, *failure, headers_.request_id);
            co_return false;
        }
        HeaderList fields = context_.headers("text/event-stream", headers_.request_id);
        add_headers(fields);
        fields.emplace_back("cache-control", "no-cache");
        if (!turn_text_.empty()) fields.emplace_back(header::kTurn, turn_text_);
        const Result<void> started = co_await exchange_.start_stream(200, fields);
        if (!started.ok()) co_return false;
        if (!continued_) out = noted(writer_->first_chunks());
    }
    bool last = false;
    for (const TurnEvent& event : events) {
        if (!event.text.empty() || !event.logprobs.empty()) {
            unnoted_.insert(unnoted_.end(), event.tokens.begin(), event.tokens.end());
            out += noted(text_events(event));
        }
        if (event.kind == TurnEvent::Kind::kToken) continue;
        out += last_events(event);
        last = ended_ == choices_.size() || failure_of(event).has_value();
        if (last) break;
    }
    const bool sent = co_await write(out, last);
    co_return sent && !last;
}

// Its id is a part of the reply's, so that an heir gives it the same one.
MadeCall TurnHandler::made(engine::ToolCall call, std::size_t choice) {
    constexpr std::size_t kDigits = 16;
    char number[9];
    std::snprintf(number, sizeof number, "%02zx%06zx", choice & 0xff,
                  choices_[choice].calls.size() & 0xffffff);
    return {"call_" + reply_id_.substr(reply_id_.size() - kDigits) + number, std::move(call)};
}

// Chunks of what an event's text turns out to say.
std::string TurnHandler::text_events(const TurnEvent& event) {
    if (readers_.empty()) return piece_events({event.text, {}}, event);
    return piece_events(readers_[event.choice].add(event.text), event);
}

std::string TurnHandler::piece_events(CallReader::Piece piece, const TurnEvent& event) {
    std::string out;
    if (!piece.text.empty() || !event.logprobs.empty())
        out = writer_->chunk(piece.text, event.logprobs, event.choice);
    if (response_) choices_[event.choice].text += piece.text;
    std::vector<MadeCall>& calls = choices_[event.choice].calls;
    for (engine::ToolCall& call : piece.calls) {
        calls.push_back(made(std::move(call), event.choice));
        out += writer_->call_chunk(calls.back(), calls.size() - 1, event.choice);
    }
    return out;
}

// Of a whole answer, whose text is complete.
void TurnHandler::part_text(std::size_t i) {
    if (readers_.empty()) return;
    Choice& choice = choices_[i];
    const std::string text = std::exchange(choice.text, {});
    for (CallReader::Piece& piece : std::vector{readers_[i].add(text), readers_[i].finish()}) {
        choice.text += piece.text;
        for (engine::ToolCall& call : piece.calls) choice.calls.push_back(made(std::move(call), i));
    }
}

void TurnHandler::end_choice(const TurnEvent& event) {
    Choice& choice = choices_[event.choice];
    choice.finish = event.finish;
    if (!choice.calls.empty() && event.finish == FinishReason::kStop)
        choice.finish = FinishReason::kToolCalls;
}

std::string TurnHandler::last_events(const TurnEvent& event) {
    std::string out;
    const auto failure = failure_of(event);
    note_end(event);
    if (!turn_text_.empty()) {
        // A turn that this node gave up can go on elsewhere; other failures would meet it there.
        out += failure && failure->status == 503 ? header::kLostNote : header::kEndNote;
        out += '\n';
    }
    if (failure) return out + writer_->failure(*failure);
    TurnEvent rest;
    rest.choice = event.choice;
    if (!readers_.empty()) out += piece_events(readers_[event.choice].finish(), rest);
    end_choice(event);
    out += writer_->finish_chunk(choices_[event.choice].finish, event.choice);
    if (ended_ == choices_.size()) out += writer_->end(usage_);
    keep_response(choices_.front());
    return out;
}

Task<bool> TurnHandler::write(const std::string& bytes, bool last) {
    if (!bytes.empty()) {
        const Result<void> written = co_await exchange_.write(bytes);
        if (!written.ok()) co_return false;
    }
    if (!last) co_return true;
    const Result<void> finished = co_await exchange_.finish_stream();
    co_return finished.ok();
}

// Collects one batch of events and answers after the last; true while more are to come.
Task<bool> TurnHandler::take_whole(const std::vector<TurnEvent>& events) {
    for (const TurnEvent& event : events) {
        Choice& choice = choices_[event.choice];
        choice.text += event.text;
        choice.logprobs.insert(choice.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
        if (event.kind == TurnEvent::Kind::kToken) continue;
        part_text(event.choice);
        note_end(event);
        if (const auto failure = failure_of(event)) {
            co_await context_.fail(exchange_, *failure, headers_.request_id);
            co_return false;
        }
        end_choice(event);
        if (ended_ < choices_.size()) continue;
        HeaderList fields = context_.headers(kJson, headers_.request_id);
        add_headers(fields);
        const std::string body = writer_->whole(choices_, usage_);
        keep_response(choices_.front());
        (void)co_await exchange_.respond(200, fields, body);
        co_return false;
    }
    co_return true;
}

}  // namespace hearth
