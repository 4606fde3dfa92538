// Api: the table of paths, the answers to GET, and what shows how a prompt is read.
#include "cachenode/api/handlers.h"

#include "cachenode/vllm_metrics.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cachenode/api/kept_codec.h"
#include "cachenode/api/turn_handler.h"

namespace hearth {

namespace {

constexpr std::string_view kModels = "/v1/models";
constexpr std::array<std::string_view, 3> kTurnPaths = {"/v1/chat/completions", "/v1/completions",
                                                        "/v1/responses"};
constexpr std::array<std::string_view, 3> kInspectPaths = {"/tokenize", "/detokenize",
                                                           "/apply-template"};
constexpr std::array<std::string_view, 6> kGetPaths = {kModels,    "/health",  "/ready",
                                                       "/metrics", "/version", "/props"};

template <std::size_t N>
bool holds(const std::array<std::string_view, N>& paths, std::string_view path) {
    return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool names_one_model(std::string_view path) {
    return path.size() > kModels.size() + 1 && path.starts_with(kModels) &&
           path[kModels.size()] == '/';
}

ApiError unknown_url(std::string_view method, std::string_view path) {
    ApiError error;
    error.status = 404;
    error.code = "unknown_url";
    error.message = "Unknown request URL: " + std::string(method) + " " + std::string(path) + ".";
    return error;
}

ApiError wrong_method(std::string_view method, std::string_view allowed) {
    ApiError error;
    error.status = 405;
    error.code = "method_not_allowed";
    error.message = std::string(method) + " is not allowed here; use " + std::string(allowed) + ".";
    return error;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// RFC 3986 percent-decoding; a '%' without two hex digits stands for itself.
std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                             hex_digit(text[i + 2]) >= 0;
        out += escaped ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]))
                       : text[i];
        if (escaped) i += 2;
    }
    return out;
}

std::string status_body(std::string_view status, const std::string& node_id) {
    return "{\"status\":\"" + std::string(status) + "\",\"node\":\"" + node_id + "\"}";
}

// The id of a path that is about one kept response; empty for others.
std::string_view response_in(std::string_view path) {
    constexpr std::string_view kFront = "/v1/responses/";
    if (!path.starts_with(kFront)) return {};
    const std::string_view id = path.substr(kFront.size());
    return id.find('/') == std::string_view::npos ? id : std::string_view();
}

ApiError unknown_response(std::string_view id) {
    ApiError error;
    error.status = 404;
    error.code = "response_not_found";
    error.message = "Response with id '" + std::string(id) + "' not found.";
    return error;
}

bool asks_for_events(std::string_view query) {
    return ('&' + std::string(query) + '&').find("&stream=true&") != std::string::npos;
}

}  // namespace

Api::Api(ApiOptions options, ApiParts parts) : context_(std::move(options), std::move(parts)) {
    // Only route() calls what calls these; what the migrator has goes with ~Api().
    if (context_.parts.peers) {
        context_.parts.peers->on_erase(
            [this](const SessionKey& session) { context_.responses.erase(session); });
        context_.parts.peers->on_kept(kept_texts());
    }
    if (context_.parts.migrator) context_.parts.migrator->on_kept(kept_texts());
}

Api::~Api() {
    if (context_.parts.migrator) context_.parts.migrator->on_kept({});
}

KeptTexts Api::kept_texts() {
    ResponseStore& kept = context_.responses;
    KeptTexts out;
    out.newer = [&kept](const SessionKey& key, const std::string& salt, std::uint64_t after) {
        const ResponseStore::Batch batch = kept.newer(salt, key, after);
        return KeptTexts::Batch{kept_text(batch), batch.last};
    };
    out.take = [&kept](const SessionKey& key, const std::string& salt, std::string_view text) {
        return keep_text(text, key, salt, kept);
    };
    out.sessions = [&kept] { return kept.sessions(); };
    return out;
}

HttpHandler Api::handler(std::shared_ptr<Api> api) {
    return [api](ServerExchange& exchange) { return handle(api, exchange); };
}

Task<void> Api::handle(std::shared_ptr<Api> self, ServerExchange& exchange) {
    co_await self->route(exchange);
}

Task<void> Api::route(ServerExchange& exchange) {
    const std::string_view method = exchange.head().method;
    const std::string_view path = exchange.head().path;
    const bool get = method == "GET" || method == "HEAD";
    const bool get_path = holds(kGetPaths, path) || names_one_model(path);
    const bool post_path = holds(kTurnPaths, path) || holds(kInspectPaths, path);
    const std::string_view response = response_in(path);
    if (context_.parts.peers && PeerApi::owns(path)) {
        co_await context_.parts.peers->serve(exchange, context_.state == NodeState::kReady);
    } else if (get && get_path) {
        co_await serve_get(exchange, path);
    } else if (method == "POST" && holds(kInspectPaths, path)) {
        co_await inspect(exchange, path);
    } else if (method == "POST" && post_path) {
        Endpoint endpoint = Endpoint::kChat;
        if (path == "/v1/completions") endpoint = Endpoint::kCompletion;
        if (path == "/v1/responses") endpoint = Endpoint::kResponse;
        TurnHandler turn(context_, exchange, endpoint);
        co_await turn.serve();
    } else if (!response.empty() && (get || method == "DELETE")) {
        co_await serve_kept(exchange, response);
    } else if (get_path || post_path || !response.empty()) {
        std::string_view allowed = post_path ? "POST" : "GET, HEAD";
        if (!response.empty()) allowed = "GET, HEAD, DELETE";
        HeaderList fields = context_.headers("application/json", {});
        fields.emplace_back("allow", allowed);
        const std::string body = wrong_method(method, allowed).body();
        (void)co_await exchange.respond(405, fields, body);
    } else {
        const ApiError error = unknown_url(method, path);
        co_await context_.fail(exchange, error, std::string());
    }
}

Task<void> Api::answer(ServerExchange& exchange, int status, std::string body) {
    const HeaderList fields = context_.headers("application/json", {});
    (void)co_await exchange.respond(status, fields, body);
}

// One response that is kept here, to be shown or forgotten. KV goes its own ways.
Task<void> Api::serve_kept(ServerExchange& exchange, std::string_view id) {
    const RequestHead& head = exchange.head();
    TurnHeaders headers;
    std::optional<ApiError> error = read_turn_headers(head, headers);
    const std::string own(id);
    std::string body;
    if (!error && asks_for_events(head.query))
        error = invalid_field("stream", "unsupported_value", "A past response has no stream.");
    if (!error && head.method == "DELETE") {
        if (context_.responses.erase(headers.salt, own))
            body = "{\"id\":\"" + own + "\",\"object\":\"response\",\"deleted\":true}";
    } else if (!error) {
        const KeptResponse* kept = context_.responses.find(headers.salt, own);
        if (kept != nullptr) body = kept->answer;
    }
    if (!error && body.empty()) error = unknown_response(id);
    if (error) {
        co_await context_.fail(exchange, *error, headers.request_id);
        co_return;
    }
    const HeaderList fields = context_.headers("application/json", headers.request_id);
    (void)co_await exchange.respond(200, fields, body);
}

Task<void> Api::serve_get(ServerExchange& exchange, std::string_view path) {
    const std::string& node_id = context_.options.node_id;
    if (path == "/health") {
        co_await answer(exchange, 200, status_body("ok", node_id));
    } else if (path == "/ready") {
        const bool ready = context_.state == NodeState::kReady;
        co_await answer(exchange, ready ? 200 : 503,
                        status_body(to_string(context_.state), node_id));
    } else if (path == "/metrics") {
        const MetadataStore* store = context_.parts.store;
        const auto stats = context_.parts.scheduler->stats();
        std::string page =
            context_.parts.metrics->expose(*stats, context_.state, store != nullptr && store->up());
        if (context_.options.vllm_metrics)
            page += vllm_metrics(
                page, {context_.options.model.name, engine::kPageTokens, stats->pages_total});
        const HeaderList fields = context_.headers("text/plain; version=0.0.4; charset=utf-8", {});
        (void)co_await exchange.respond(200, fields, page);
    } else if (path == "/version") {
        co_await answer(exchange, 200, version_answer());
    } else if (path == "/props") {
        const PromptRenderer& prompts = *context_.parts.prompts;
        NodeProperties node{node_id, context_.options.fingerprint,
                            to_string(prompts.chat_template().kind()), prompts.tokenizer().size(),
                            context_.options.kv_tokens_max};
        co_await answer(exchange, 200, properties_answer(context_.options.model, node));
    } else if (path == kModels) {
        co_await answer(exchange, 200, model_list(context_.options.model));
    } else {
        const auto error = context_.check_model(percent_decoded(path.substr(kModels.size() + 1)));
        if (error) {
            co_await context_.fail(exchange, *error, std::string());
        } else {
            co_await answer(exchange, 200, model_object(context_.options.model));
        }
    }
}

std::optional<ApiError> Api::tokenized(std::string_view body, Prompt& out) const {
    const PromptRenderer& prompts = *context_.parts.prompts;
    TokenizeRequest request;
    if (auto error = parse_tokenize_request(body, prompts.tokenizer().size(), request))
        return error;
    const auto* chat = std::get_if<ChatRequest>(&request);
    const auto* completion = std::get_if<CompletionRequest>(&request);
    if (auto error = context_.check_model(chat ? chat->model : completion->model)) return error;
    const engine::ToolFormat format = prompts.chat_template().tool_format();
    if (chat != nullptr)
        if (auto error = check_tools(chat->tools, chat->messages, format)) return error;
    Result<Prompt> prompt = chat ? prompts.render(chat->messages, chat_tools(chat->tools, format))
                                 : prompts.render(*completion);
    if (!prompt.ok()) {
        ApiError error = api_error_from(prompt.error(), 0);
        error.param = chat ? "messages" : "prompt";
        return error;
    }
    out = std::move(*prompt);
    return std::nullopt;
}

// What a prompt becomes, for people who ask why a prefix diverged.
std::optional<ApiError> Api::inspected(std::string_view path, std::string_view body,
                                       std::string& out) const {
    const PromptRenderer& prompts = *context_.parts.prompts;
    Prompt prompt;
    if (path == "/detokenize") {
        const std::int32_t vocabulary = prompts.tokenizer().size();
        if (auto error = parse_detokenize_request(body, vocabulary, prompt.tokens)) return error;
    } else if (auto error = tokenized(body, prompt)) {
        return error;
    }
    out = path == "/tokenize" ? token_list(prompt.tokens, prompts.context_length())
                              : text_answer(prompts.tokenizer(), prompt.tokens);
    return std::nullopt;
}

Task<void> Api::inspect(ServerExchange& exchange, std::string_view path) {
    const std::size_t limit = context_.options.body_bytes_max;
    std::string out;
    std::optional<ApiError> error;
    {
        RequestBody body(context_.bodies);
        const Result<void> read = co_await body.read(exchange, limit);
        if (read.ok()) error = inspected(path, body.text(), out);
        if (!read.ok()) error = body_error(read.error(), limit);
    }
    if (error) {
        co_await context_.fail(exchange, *error, std::string());
        co_return;
    }
    co_await answer(exchange, 200, std::move(out));
}

}  // namespace hearth
