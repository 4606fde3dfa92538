// KeptTexts: what a node keeps of sessions beside their KV, and what must go along with that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/wire/session_key.h"

namespace hearth {

// Called on the io_context's thread. Who gives them keeps them callable as long as who has them.
struct KeptTexts {
    struct Batch {
        std::string text;        // Opaque here; empty = there is nothing behind `after`.
        std::uint64_t last = 0;  // To go on behind.
    };
    std::function<Batch(const SessionKey&, const std::string& salt, std::uint64_t after)> newer;
    // What another node's newer() gave; false if it cannot be read.
    std::function<bool(const SessionKey&, const std::string& salt, std::string_view text)> take;
    std::function<std::vector<std::pair<SessionKey, std::string>>()> sessions;
};

}  // namespace hearth
