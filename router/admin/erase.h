// Erasing one session on every node and in the store.
#pragma once

#include <boost/json/array.hpp>
#include <memory>

#include "router/core.h"

namespace hearth {

struct ErasedEverywhere {
    std::int64_t bytes = 0;
    bool complete = true;      // Every Hearth node answered, and so did the store, if there is one.
    boost::json::array nodes;  // {"node","bytes"} or {"node","error"} each.
};

// Asks every member that is a Hearth node, one after the other, then forgets the session's record.
Task<ErasedEverywhere> erase_everywhere(std::shared_ptr<RouterCore> core, SessionKey session);

}  // namespace hearth
