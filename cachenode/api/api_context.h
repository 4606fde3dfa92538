// ApiContext: what every request handler works on, and the small answers they all give.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cachenode/api/api_error.h"
#include "cachenode/api/prompt.h"
#include "cachenode/api/request_body.h"
#include "cachenode/api/response_store.h"
#include "cachenode/api/responses.h"
#include "cachenode/metrics.h"
#include "cachenode/publish/publisher.h"
#include "cachenode/scheduler/scheduler.h"
#include "cachenode/transfer/migrator.h"
#include "cachenode/transfer/peer_api.h"
#include "common/base/rng.h"
#include "common/net/http_server.h"
#include "common/wire/records.h"

namespace hearth {

struct ApiOptions {
    std::string node_id;
    ServedModel model;
    std::string fingerprint;  // system_fingerprint
    std::size_t body_bytes_max = 16 << 20;
    std::size_t body_memory = 256 << 20;       // Of all bodies that are being read.
    std::size_t responses_max = 16'384;        // Kept for previous_response_id,
    std::size_t responses_memory = 256 << 20;  // ... with so many bytes.
    std::int64_t default_max_tokens = 0;       // 0 = what context and KV leave.
    bool truncates = false;                    // Over-long chats lose their oldest turns.
    std::int64_t truncation_step_tokens = 2'048;
    std::int64_t kv_tokens_max = 0;  // What the page pool holds.
    bool vllm_metrics = false;       // /metrics says the same in vLLM's names too.
    std::uint64_t seed = 0;          // Of request ids, and of seeds that clients leave out.
};

struct ApiParts {
    std::shared_ptr<const PromptRenderer> prompts;
    std::shared_ptr<Scheduler> scheduler;
    std::shared_ptr<NodeMetrics> metrics;
    std::shared_ptr<Publisher> publisher;  // Null: nothing is published.
    MetadataStore* store = nullptr;        // For hearth_directory_up; null like the publisher.
    const Clock* clock = nullptr;
    std::shared_ptr<Migrator> migrator;  // Null: no KV moves between nodes.
    std::shared_ptr<PeerApi> peers;      // Null likewise.
};

// One io_context's thread.
class ApiContext {
  public:
    ApiContext(ApiOptions api_options, ApiParts api_parts)
        : options(std::move(api_options)),
          parts(std::move(api_parts)),
          rng(options.seed),
          bodies(options.body_memory),
          responses({options.responses_max, options.responses_memory}) {}

    ApiOptions options;
    ApiParts parts;
    Rng rng;
    BodyBudget bodies;
    ResponseStore responses;
    NodeState state = NodeState::kStarting;

    // "prefix" and 24 hex digits.
    std::string fresh_id(std::string_view prefix);
    // What every answer carries: content type, node, request id.
    HeaderList headers(std::string_view content_type, const std::string& request_id) const;
    // Seconds until a refused turn may try again, from the queue and the measured speed; 1 to 30.
    std::int64_t retry_after_s() const;
    std::optional<ApiError> check_model(const std::string& name) const;  // 404 model_not_found
    Task<void> fail(ServerExchange& exchange, ApiError error, std::string request_id) const;
};

}  // namespace hearth
