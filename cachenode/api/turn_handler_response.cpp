// TurnHandler, the part for /v1/responses: the dialogue that a response names, and keeping this
// one.
#include <utility>

#include "cachenode/api/turn_handler.h"
#include "common/wire/response_id.h"

namespace hearth {

std::optional<ApiError> TurnHandler::prepare_response(std::string_view body) {
    ResponseRequest request;
    const auto find = [this](const std::string& id) {
        const KeptResponse* kept = context_.responses.find(headers_.salt, id);
        return kept != nullptr ? &kept->dialogue : nullptr;
    };
    const std::int32_t vocabulary = context_.parts.prompts->tokenizer().size();
    if (auto error = parse_response_request(body, vocabulary, find, request)) {
        if (error->code == kPreviousNotFound) missing_previous_ = request.previous_id;
        return error;
    }
    if (auto error = context_.check_model(request.model)) return error;
    // Behind a router its key is the id's too; without one the id alone tells the session.
    if (!headers_.session) headers_.session = session_of_response(request.previous_id);
    const SessionKey session =
        headers_.session.value_or(SessionKey{context_.rng.next(), context_.rng.next()});
    response_.emplace();
    response_->id = response_id(session, context_.rng.next());
    response_->store = request.store;
    response_->shown = std::move(request.shown);
    ChatRequest chat;
    if (!request.instructions.empty())
        chat.messages.push_back({engine::Role::kSystem, std::move(request.instructions)});
    chat.messages.insert(chat.messages.end(), request.dialogue.messages.begin(),
                         request.dialogue.messages.end());
    response_->dialogue = std::move(request.dialogue);
    chat.tools = std::move(request.tools);
    chat.options = std::move(request.options);
    return prepare_chat(chat);
}

// Kept responses travel with their session's KV; who has not got them yet asks for them. False: no
// other node has it either.
Task<bool> TurnHandler::fetch_previous() {
    const std::string id = std::exchange(missing_previous_, {});
    const auto session = session_of_response(id);
    const auto& migrator = context_.parts.migrator;
    if (!session || !migrator) co_return false;
    std::string holder;
    auto record = co_await context_.parts.store->find_session(*session);
    if (record && record->has_value()) holder = (*record)->node_id;
    const std::string salt = headers_.salt;
    ResponseStore& kept = context_.responses;
    const std::function<bool()> is_here = [&] { return kept.find(salt, id) != nullptr; };
    const bool found = co_await migrator->fetch_kept(*session, salt, holder, is_here);
    co_return found;
}

// The settings of an answer, in the shape of its endpoint.
std::unique_ptr<AnswerWriter> TurnHandler::response_writer(std::int64_t created, bool logprobs) {
    ResponseFacts head;
    head.id = response_->id;
    head.created = created;
    head.model = context_.options.model.name;
    head.store = response_->store;
    head.logprobs = logprobs;
    head.shown = std::move(response_->shown);
    auto writer =
        std::make_unique<ResponseWriter>(std::move(head), context_.parts.prompts->tokenizer());
    response_->writer = writer.get();
    return writer;
}

// Before the last byte is sent, so that who has read it can go on from here.
void TurnHandler::keep_response(const Choice& choice) {
    if (!response_ || !response_->store) return;
    engine::ChatMessage reply;
    reply.role = engine::Role::kAssistant;
    reply.content = choice.text;
    for (const MadeCall& made : choice.calls) {
        reply.calls.push_back(made.call);
        response_->dialogue.call_ids.push_back(made.id);
    }
    response_->dialogue.messages.push_back(std::move(reply));
    context_.responses.keep(headers_.salt, response_->id,
                            {std::move(response_->dialogue), response_->writer->answer()});
}

}  // namespace hearth
