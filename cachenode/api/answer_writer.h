// AnswerWriter: the bytes of one answer, in the shapes of the endpoint that was asked.
#pragma once

#include <boost/json/array.hpp>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/api_error.h"
#include "cachenode/scheduler/turn.h"
#include "engine/text/sampler.h"
#include "engine/text/tokenizer.h"
#include "engine/text/tool_format.h"

namespace hearth {

// A call with the id under which the client will say what it gave.
struct MadeCall {
    std::string id;
    engine::ToolCall call;
};

// One reply of a whole answer.
struct Choice {
    std::string text;
    std::vector<MadeCall> calls;
    std::vector<engine::Sampled> logprobs;
    FinishReason finish = FinishReason::kStop;
};

// Streamed, in the order of the functions, or whole(). Chunks never split a UTF-8 character as long
// as the texts given do not. One owner.
class AnswerWriter {
  public:
    virtual ~AnswerWriter() = default;

    // These reply tokens were written by another node; nothing is written for them.
    virtual void skip(std::span<const engine::TokenId>) {}

    // `choice`: which of the replies, everywhere.
    virtual std::string first_chunks() = 0;
    virtual std::string chunk(std::string_view text, std::span<const engine::Sampled> logprobs,
                              std::size_t choice) = 0;
    // A call, whole; `index`: its number among the reply's calls.
    virtual std::string call_chunk(const MadeCall& call, std::size_t index, std::size_t choice) = 0;
    virtual std::string finish_chunk(FinishReason finish, std::size_t choice) = 0;
    virtual std::string end(const TurnUsage& usage) = 0;
    // In mid-stream, as the official clients understand it; nothing follows.
    virtual std::string failure(const ApiError& error) = 0;

    virtual std::string whole(std::span<const Choice> choices, const TurnUsage& usage) = 0;
};

// One entry for each token, with what else might have been.
boost::json::array logprob_list(const engine::Tokenizer& tokenizer,
                                std::span<const engine::Sampled> tokens);

}  // namespace hearth
