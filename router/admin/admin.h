// The admin API (docs/api-admin.md): what the router knows and does, for operators and the CLI.
#pragma once

#include <memory>

#include "common/net/http_server.h"
#include "router/core.h"

namespace hearth {

// Serves one request of the admin listener. 401 without the token, if one is set.
Task<void> serve_admin(std::shared_ptr<RouterCore> core, ServerExchange& exchange);

}  // namespace hearth
