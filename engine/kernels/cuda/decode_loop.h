// DecodeLoop: decoding with a step always under way: step n + 1 is launched before the tokens of
// step n are read, which go from one to the other on the device.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/forward.h"

namespace hearth::engine::cuda {

// One owner thread, which calls nothing else of the engine between launch() and the collect() of
// everything launched. At most two steps are under way. The end of a text is seen one step late:
// the step after it is wasted for that row, and what it wrote to its pages lies behind the text's
// end.
class DecodeLoop {
  public:
    struct Row {
        std::span<std::byte* const> pages;
        std::int32_t position = 0;   // Of the token that is fed.
        TokenId token = 0;           // That is fed; or
        std::int32_t previous = -1;  // >= 0: what this row of the step before drew.
        float temperature = 0.0f;
        std::uint32_t seed = 0;
    };

    // `engine` runs on `backend`.
    DecodeLoop(ForwardEngine& engine, CudaBackend& backend) : engine_(engine), backend_(backend) {}
    // Does not wait.
    void launch(std::span<const Row> rows);
    // Waits for the oldest step that was launched and not collected; what its rows drew, valid
    // until the launch after next.
    std::span<const TokenId> collect();
    std::int32_t under_way() const { return static_cast<std::int32_t>(launched_ - collected_); }

    // Decodes every row `count` tokens further, or to the first token that `ends` is true of;
    // the tokens of each, that one included.
    std::vector<std::vector<TokenId>> generate(std::vector<Row> rows, std::int32_t count,
                                               const std::function<bool(TokenId)>& ends);

  private:
    ForwardEngine& engine_;
    CudaBackend& backend_;
    std::int64_t launched_ = 0, collected_ = 0;
};

}  // namespace hearth::engine::cuda
