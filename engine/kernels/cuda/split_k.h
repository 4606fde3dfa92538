// split_k.h: a product cut along K: the last part to come adds up all parts' sums.
#pragma once

#include "engine/kernels/cuda/simt.h"

namespace hearth::engine::cuda {

// A product is cut along K where its tiles are too few to fill a chip: every part leaves its sums
// in `partial`, and the last to come adds them and writes the result. Integers, so the order does
// not matter. Counters are zero before and after.
struct SplitK {
    std::int32_t parts = 1;
    std::int32_t* partial = nullptr;  // [tiles][parts][threads * registers]
    int* arrived = nullptr;           // [tiles]

    // sum(t, i) is register i of thread t, of kThreads that multiply. `flag` is an int in shared
    // memory. True, with all parts' sums, in the block that comes last.
    template <int kThreads, int kRegisters, class B, class Sum>
    HEARTH_KERNEL bool last_part(B& block, std::ptrdiff_t tile, int part, int* flag,
                                 const Sum& sum) const {
        std::int32_t* all = partial + tile * parts * kRegisters * kThreads;
        block.sync();
        block.each([&](int t) {
            std::int32_t* mine = all + std::ptrdiff_t{part} * kRegisters * kThreads;
            HEARTH_UNROLL
            for (int i = 0; i < kRegisters; ++i) mine[i * kThreads + t] = sum(t, i);
            B::publish();
        });
        block.sync();
        block.each([&](int t) {
            if (t == 0) *flag = B::fetch_add(arrived + tile, 1) == parts - 1;
        });
        block.sync();
        if (*flag == 0) return false;
        block.each([&](int t) {
            if (t == 0) arrived[tile] = 0;
            B::publish();
            for (int other = 0; other < parts; ++other) {
                if (other == part) continue;
                const std::int32_t* from = all + std::ptrdiff_t{other} * kRegisters * kThreads;
                HEARTH_UNROLL
                for (int i = 0; i < kRegisters; ++i)
                    sum(t, i) += B::load_shared_between_blocks(from + i * kThreads + t);
            }
        });
        return true;
    }
};

}  // namespace hearth::engine::cuda
