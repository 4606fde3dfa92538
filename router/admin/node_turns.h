// NodeTurns: what the nodes themselves say of a session's last turns.
#pragma once

#include <boost/json/array.hpp>
#include <memory>

#include "router/core.h"

namespace hearth {

// Asks every member that is a Hearth node, one after the other: {"node", "turns"} of each that
// knows of any, {"node", "error"} of each that cannot be asked.
Task<boost::json::array> node_turns(std::shared_ptr<RouterCore> core, SessionKey session);

}  // namespace hearth
