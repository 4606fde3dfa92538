// hopper_block.h: a block on sm_90a: a warp that asks the copy engine (TMA) for tiles, and
// warpgroups that multiply them. For .cu files.
#pragma once

#include "engine/kernels/cuda/device_block.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/mma_layout.h"
#include "engine/kernels/cuda/wgmma.h"

namespace hearth::engine::cuda {

// The first kConsumers threads multiply, the others load. `shared` ends in the barriers.
template <int Threads, int kConsumers>
struct HopperBlock : DeviceBlock<Threads> {
    using Base = DeviceBlock<Threads>;
    template <class T>
    using OwnOf = typename Base::template OwnOf<T>;

    // For every turn: produce(turn, stage, barrier) in one thread that loads, `bytes` in all, then
    // consume(turn, stage) in those that multiply; finish() in the latter. Of a stage's two
    // barriers "full" is one arrival and the bytes, "empty" one of every warp that multiplied.
    template <int kStages, class Produce, class Consume, class Finish>
    __device__ __forceinline__ void pipeline(std::byte* barriers, int turns, unsigned bytes,
                                             const Produce& produce, const Consume& consume,
                                             const Finish& finish) {
        const unsigned full = address(barriers), empty = full + kStages * 8;
        if (threadIdx.x == 0) {
            for (int i = 0; i < kStages; ++i) {
                init(full + i * 8, 1);
                init(empty + i * 8, kConsumers / kWarp);
            }
            asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        }
        __syncthreads();
        if (threadIdx.x >= kConsumers) {
            if constexpr (Threads - kConsumers == 128)
                asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
            if (threadIdx.x == kConsumers) {
                for (int turn = 0; turn < turns; ++turn) {
                    const RingTurn at = ring_turn(turn, kStages);
                    wait(empty + at.stage * 8, at.empty_parity);
                    expect(full + at.stage * 8, bytes);
                    produce(turn, at.stage, full + at.stage * 8);
                }
            }
        } else {
            if constexpr (Threads - kConsumers == 128)
                asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
            for (int turn = 0; turn < turns; ++turn) {
                const RingTurn at = ring_turn(turn, kStages);
                wait(full + at.stage * 8, at.full_parity);
                asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
                consume(turn, at.stage);
                asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
                // All but these products are done: the stage before is free.
                asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
                if (turn > 0) release(empty + ring_turn(turn - 1, kStages).stage * 8);
            }
            asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
            finish();
        }
    }

    // A tile of `map` at byte `x` of row `y`.
    __device__ __forceinline__ void load_tile(std::byte* to, const TensorMap& map, int x, int y,
                                              unsigned barrier) {
        asm volatile(
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
            "[%0], [%1, {%3, %4}], [%2];" ::"r"(address(to)),
            "l"(&map), "r"(barrier), "r"(x), "r"(y)
            : "memory");
    }
    template <int kN>
    __device__ __forceinline__ void multiply_tiles(OwnOf<std::int32_t[kN / 8][4]>& sums,
                                                   const std::byte* a, const std::byte* b,
                                                   int bytes) {
        wgmma_bytes(sums.value, tile_descriptor(address(a) + bytes),
                    tile_descriptor(address(b) + bytes));
    }
    // Threads that multiply meet; the others have left.
    __device__ __forceinline__ void sync() {
        asm volatile("bar.sync 1, %0;" ::"n"(kConsumers) : "memory");
    }
    __device__ static __forceinline__ int warpgroup() { return threadIdx.x / 128; }

  private:
    __device__ static __forceinline__ unsigned address(const void* shared) {
        return static_cast<unsigned>(__cvta_generic_to_shared(shared));
    }
    __device__ static __forceinline__ void init(unsigned barrier, unsigned arrivals) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                     : "memory");
    }
    __device__ static __forceinline__ void expect(unsigned barrier, unsigned bytes) {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                     "r"(bytes)
                     : "memory");
    }
    __device__ static __forceinline__ void release(unsigned barrier) {
        if (threadIdx.x % kWarp == 0)
            asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
    }
    __device__ static __forceinline__ void wait(unsigned barrier, unsigned parity) {
        asm volatile(
            "{\n.reg .pred over;\n"
            "again_%=: mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
            "@!over bra again_%=;\n}" ::"r"(barrier),
            "r"(parity)
            : "memory");
    }
};

}  // namespace hearth::engine::cuda
