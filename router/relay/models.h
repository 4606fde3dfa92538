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

// GET /v1/models, or the entry of one model if `wanted` is not empty (an id, percent-encoded or
// not). Asks one usable node of each served model, and every node whose model is not known (static
// ones), with the client's `authorization`. 503 if there is nobody to ask, 401 or 403 if nodes want
// another key, 502 if nobody answered; 404 if nobody serves the one that is wanted.
Task<void> serve_models(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                        std::string_view wanted, std::string request_id, int& status);

}  // namespace hearth
