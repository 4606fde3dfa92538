// PieceCopier: a batch of copies by the multiprocessors instead of the copy engines.
#pragma once

#include <memory>
#include <span>

#include "engine/kernels/cuda/machine.h"

namespace hearth::engine::cuda {

// One owner thread. Which way is faster is the machine's business: `hearth`'s gpu-check measures
// both (docs/gpu/README.md).
class PieceCopier {
  public:
    // Host memory of the pieces is pinned. The list itself is copied before this returns.
    void copy(Machine& machine, std::span<const Piece> pieces, Stream stream);

  private:
    // The list of one call, still read by its kernel when the next call comes.
    struct List {
        std::shared_ptr<std::byte> pinned, device;
        std::size_t room = 0;
        int done = -1;
    };
    static constexpr std::size_t kLists = 8;
    List lists_[kLists];
    std::size_t next_ = 0;
};

}  // namespace hearth::engine::cuda
