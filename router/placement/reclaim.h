// Reclaim: tells a store that has forgotten everything what this router remembers.
#pragma once

#include <memory>

#include "router/core.h"

namespace hearth {

// Asks the store for the name of its memory. If that has changed, nothing that this router
// remembers is believed without asking for kLocalTrust, and all of it is claimed anew in the
// background under a higher epoch, the sessions used last first. Every router does so: the highest
// epoch of a session stands, the first claim of equals, and each takes over what the store answers.
// `name`: the last known, kept by the caller.
Task<void> watch_memory(std::shared_ptr<RouterCore> core, std::string& name);

}  // namespace hearth
