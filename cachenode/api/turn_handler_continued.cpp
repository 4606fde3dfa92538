// TurnHandler, the part for streams that outlive their node: what routers are told of a stream, and
// going on with another node's.
#include <algorithm>
#include <utility>

#include "cachenode/api/turn_handler.h"
#include "cachenode/scheduler/reply.h"
#include "common/wire/headers.h"

namespace hearth {

namespace {

// The router goes on to the next heir, which may still be able to.
ApiError cannot_continue(std::string why) {
    ApiError error;
    error.status = 409;
    error.code = "cannot_continue";
    error.message = std::move(why);
    return error;
}

}  // namespace

std::optional<ApiError> TurnHandler::open_body(std::string_view body) {
    if (headers_.continues.empty()) return prepare(body);
    continued_ = continued_turn_from(headers_.continues);
    if (!continued_) return cannot_continue("The header hearth-continue cannot be read.");
    const std::size_t forced = std::min(headers_.forced_bytes, body.size());
    auto tokens = tokens_from(body.substr(0, forced));
    if (!tokens) return cannot_continue("The tokens that were delivered cannot be read.");
    turn_.forced = std::move(*tokens);
    if (auto error = prepare(body.substr(forced))) return error;
    replay();
    return std::nullopt;
}

// Brings what reads and writes the reply to where the other node's stream broke off: the same text
// in the same pieces, with nothing sent.
void TurnHandler::replay() {
    if (readers_.empty() && !response_) return;
    (void)writer_->first_chunks();
    Reply reply(context_.parts.prompts->tokenizer(), turn_);
    for (const engine::TokenId id : turn_.forced) {
        TurnEvent event;
        Reply::Step step = reply.replay(id);
        event.text = std::move(step.text);
        if (!event.text.empty()) (void)text_events(event);
        if (step.has_ended) break;
    }
    if (response_ && headers_.last_event) response_->writer->number_behind(*headers_.last_event);
}

// Takes over what the first node drew or had by its own settings.
std::optional<ApiError> TurnHandler::continue_turn() {
    const auto prompt = static_cast<std::int64_t>(turn_.prompt.size());
    if (!stream_wanted_ || choices_.size() > 1)
        return cannot_continue("Only a stream of one reply can be continued.");
    if (continued_->fingerprint != context_.options.fingerprint)
        return cannot_continue("This node has other weights.");
    if (continued_->prompt_tokens != prompt)
        return cannot_continue("This node renders the prompt another way.");
    if (continued_->max_tokens < std::ssize(turn_.forced))
        return cannot_continue("More tokens were delivered than the turn may have.");
    turn_.sampling.seed = continued_->seed;
    turn_.max_tokens = continued_->max_tokens;
    turn_.min_tokens = std::min(turn_.min_tokens, turn_.max_tokens);
    return std::nullopt;
}

// The end of a response repeats all its logprobs, and an heir does not know those of the tokens
// that another node sampled.
bool TurnHandler::is_continuable(bool logprobs) const {
    if (!headers_.continuable || !stream_wanted_ || choices_.size() > 1) return false;
    if (response_ && logprobs) return false;
    return headers_.knows_groups || (readers_.empty() && !response_);
}

// For the router: which tokens the client has once it has these events, that come together.
std::string TurnHandler::noted(std::string events) {
    if (turn_text_.empty() || events.empty()) return events;
    std::size_t count = 0;
    for (std::size_t at = 0; (at = events.find("\n\n", at)) != std::string::npos; at += 2) ++count;
    std::string out;
    if (count > 1) out.append(header::kGroupNote).append(std::to_string(count)) += '\n';
    if (!unnoted_.empty()) {
        out += header::kTokensNote.front();
        append_tokens(out, unnoted_);
        out += '\n';
        unnoted_.clear();
    }
    return out + events;
}

}  // namespace hearth
