// GET /v1/models of a fleet: the union of what its nodes serve, each entry as its node wrote it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/net/http_server.h"
#include "router/core.h"

namespace hearth {

// The entries of an OpenAI model list, by their `id`; the value is the entry's own JSON. False if
// `list` is no such list. Entries without a text as `id` are left out; an id that is there stays.
bool merge_models(std::string_view list, std::map<std::string, std::string>& models);

// {"object":"list","data":[...]}
std::string models_body(const std::map<std::string, std::string>& models);

// Asks one usable node of each served model, and every node whose model is not known (static ones).
// 503 if there is nobody to ask, 502 if nobody answered.
Task<void> serve_models(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                        std::string request_id, int& status);

}  // namespace hearth
