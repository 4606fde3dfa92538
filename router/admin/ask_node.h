// What a router asks a Hearth node about one session, on the fleet's own path.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "router/core.h"

namespace hearth {

// The node's answer to GET (its last turns) or DELETE (erase it). An error if it does not answer
// within `timeout`, with a 200, and with an object.
Task<Result<boost::json::object>> ask_node(std::shared_ptr<RouterCore> core, std::string address,
                                           std::string method, SessionKey session,
                                           std::chrono::milliseconds timeout);

}  // namespace hearth
