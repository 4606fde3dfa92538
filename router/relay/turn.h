// Turn: one chat request through the router: key, placement, relay, heirs, and the account of it.
#pragma once

#include <memory>

#include "router/relay/relay.h"

namespace hearth {

// Serves one POST of a chat or a completion. `core` is kept alive; never throws but when cancelled.
Task<void> serve_turn(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                      Endpoint endpoint);

// The client's own x-request-id if it is sane (1 to 128 letters, digits, '-', '_', '.' or ':'),
// else a fresh one.
std::string request_id_of(const RequestHead& head, RouterCore& core);

}  // namespace hearth
