// Names of the ways a turn ends.
#include "cachenode/scheduler/turn.h"

namespace hearth {

const char* to_string(FinishReason reason) {
    switch (reason) {
        case FinishReason::kStop: return "stop";
        case FinishReason::kLength: return "length";
        case FinishReason::kCancelled: return "abort";
        case FinishReason::kError: return "error";
        case FinishReason::kToolCalls: return "tool_calls";
    }
    return "error";
}

}  // namespace hearth
