// MissReason: why a token whose KV an earlier turn had computed had to be computed again.
#pragma once

namespace hearth {

// Exactly one per missed token (design §7).
enum class MissReason {
    kEvicted,   // Its page made room for another.
    kExpired,   // Nobody used it for as long as a page may go unused.
    kCorrupt,   // Its bytes were no longer those that had been stored.
    kSalt,      // It was computed under another tenant's salt.
    kCapacity,  // It was never stored: no page could be had for it.
    kDiverged,  // The same text came back as other token ids than were computed.
    kRerouted,  // Another node served the session last.
    kNodeLost,  // The node, or the life of this node, that held it is gone.
    kDeclined,  // The request or this node's configuration asks for no cache.
};
// "evicted", "expired", ...: the names above without their k.
const char* to_string(MissReason reason);

}  // namespace hearth
