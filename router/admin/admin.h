// The admin listener: what this router knows of its nodes. On loopback by default; no part of the
// API.
#pragma once

#include <memory>

#include "common/net/http_server.h"
#include "router/core.h"

namespace hearth {

// {"cluster","directory_up","nodes":[{"id","address","state","healthy",...}]}, by node id.
std::string nodes_body(const Members& members, const std::string& cluster, bool directory_up);

// GET /admin/v1/nodes; 404 for the rest.
Task<void> serve_admin(std::shared_ptr<RouterCore> core, ServerExchange& exchange);

}  // namespace hearth
