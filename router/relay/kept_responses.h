// GET and DELETE /v1/responses/ID of a fleet: whichever node keeps the response answers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/net/http_server.h"
#include "router/core.h"

namespace hearth {

// The id of a path of that kind; empty for any other path.
std::string_view kept_response_in(std::string_view path);

// GET asks the node that has the session, then its heirs, then the others, until one has it. DELETE
// asks all, for copies. Ids that are not Hearth's are asked for at other servers only. 404 if no
// node has it, 502 if one that may did not answer. `status`: what the client got.
Task<void> serve_kept_response(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                               std::string request_id, int& status);

}  // namespace hearth
