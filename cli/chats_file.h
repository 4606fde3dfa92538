// Chats for replay: one JSON object a line, user turns in order, an optional system prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.h"

namespace hearth::cli {

struct Chat {
    std::string id;
    std::string system;                   // Empty = none.
    std::vector<std::string> user_turns;  // The file's assistant turns are left out.
};

// {"id":"a","system":"...","turns":[{"role":"user","text":"..."}]}; a turn of role "system" counts
// as the system prompt. Chats without a user turn are left out. The error names file and line.
Result<std::vector<Chat>> read_chats(const std::string& path, std::int64_t chats_max,
                                     std::int64_t turns_max);

}  // namespace hearth::cli
