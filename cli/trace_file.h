// Recorded loads for `hearth plan`: a trace with times, or chats that are replayed at a pace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/cache_model.h"
#include "common/base/result.h"

namespace hearth::cli {

// JSON lines in order of time: {"timestamp": ms, "input_length": n, "output_length": n} and either
// "session": "a", or "hash_ids": [ids of the prompt's blocks of 512 tokens, chained]. The error
// names file and line.
Result<std::vector<TraceTurn>> read_trace(const std::string& path);

struct ChatPace {
    std::int64_t users = 0;  // At once; chats are given to several users where there are fewer.
    double gap_s = 60;       // Between two turns of a chat.
};
// JSON lines as `hearth replay` takes them; `count` says how many tokens a text has. Every turn k
// of every user comes before any turn k + 1.
Result<std::vector<TraceTurn>> read_paced_chats(
    const std::string& path, const ChatPace& pace,
    const std::function<std::int64_t(const std::string&)>& count);

}  // namespace hearth::cli
