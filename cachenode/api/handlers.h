// Api: the node's HTTP endpoints: which path and method goes where.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cachenode/api/api_context.h"

namespace hearth {

// One io_context's thread; shared with the coroutines of its connections, which may end after the
// server that made it.
class Api {
  public:
    Api(ApiOptions options, ApiParts parts);
    ~Api();

    static HttpHandler handler(std::shared_ptr<Api> api);

    // Turns are taken in kReady only; /ready says so.
    void set_state(NodeState state) { context_.state = state; }
    NodeState state() const { return context_.state; }

  private:
    static Task<void> handle(std::shared_ptr<Api> self, ServerExchange& exchange);
    Task<void> route(ServerExchange& exchange);
    Task<void> serve_get(ServerExchange& exchange, std::string_view path);
    Task<void> serve_kept(ServerExchange& exchange, std::string_view id);
    KeptTexts kept_texts();
    Task<void> inspect(ServerExchange& exchange, std::string_view path);
    std::optional<ApiError> inspected(std::string_view path, std::string_view body,
                                      std::string& out) const;
    std::optional<ApiError> tokenized(std::string_view body, Prompt& out) const;
    Task<void> answer(ServerExchange& exchange, int status, std::string body);

    ApiContext context_;
};

}  // namespace hearth
