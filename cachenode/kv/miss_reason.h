// MissReason: why a token whose KV an earlier turn had computed had to be computed again.
#pragma once

namespace hearth {

// Exactly one per missed token (design §7). Reasons that a tier or rule not yet built would give
// (expired, salt, corrupt) are not listed until something can give them.
enum class MissReason {
    kEvicted,   // Its page made room for another.
    kCapacity,  // It was never stored: no page could be had for it.
    kDiverged,  // The same text came back as other token ids than were computed.
    kRerouted,  // Another node served the session last.
    kNodeLost,  // The node, or the life of this node, that held it is gone.
    kDeclined,  // The request or this node's configuration asks for no cache.
};
// "evicted", "capacity", "diverged", "rerouted", "node_lost", "declined".
const char* to_string(MissReason reason);

}  // namespace hearth
