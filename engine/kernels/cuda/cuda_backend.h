// CudaBackend: the ops of ops.h on a Machine, with pages on the device, copies of the caller's.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "engine/kernels/cuda/cuda_matrix.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/page_slots.h"
#include "engine/kernels/cuda/pass_tables.h"
#include "engine/kernels/cuda/tier_copies.h"
#include "engine/kernels/ops.h"
#include "engine/kernels/thread_pool.h"

namespace hearth::engine::cuda {

struct CudaOptions {
    bool graphs = true;
    double page_share = 0.9;                // Of the device's memory that is free, for pages,
    std::size_t page_bytes_max = SIZE_MAX;  // and not more than this.
    bool copy_kernel = false;  // Restores by a kernel, instead of one call for a batch of copies.
    std::int32_t threads = 1;  // For packing.
};

// What the last pass did, for metrics; times are there once it has ended.
struct PassFigures {
    std::int64_t weight_bytes = 0, kv_bytes = 0;  // Read from device memory.
    std::int64_t restored_bytes = 0, written_bytes = 0;
    double byte_products = 0.0, half_products = 0.0;  // Operations of tensor cores, two a product.
    double milliseconds = 0.0;
    bool replayed = false;
    // Of device memory and of the tensor cores, while the pass ran.
    double gb_per_second() const;
    double tops() const;
};

// One owner thread. Ops put kernels into the compute stream and return; end_pass() waits. Where a
// pass is nothing but decoding, its kernels are recorded as a graph for the bucket of its size, and
// the next pass of that bucket replays it. An error of the device ends the process: its memory is
// lost then, and other nodes have or rebuild its chats.
class CudaBackend final : public Backend {
  public:
    CudaBackend(std::unique_ptr<Machine> machine, const CudaOptions& options);
    ~CudaBackend() override;

    std::string name() const override;
    std::shared_ptr<std::byte> allocate(std::size_t bytes) override;
    std::shared_ptr<const float> constants(std::span<const float> values) override;
    Result<void> prepare(const ModelConfig& config, std::int32_t rows) override;
    bool allocates_ahead() const override { return true; }
    std::int64_t pages_per_pass() const override;
    Result<void> use_page_memory(std::span<std::byte> memory) override;
    void page_changed(const std::byte* page) override;
    std::optional<DeviceFigures> device_figures() const override;
    PassShape begin_pass(const Pass& pass) override;
    float* logits_of_pass(float* logits) override;
    void end_pass(float* logits) override;
    void gather_rows(const float* from, std::span<const std::int32_t> rows, std::int32_t stride,
                     float* to) override;

    std::unique_ptr<PackedMatrix> pack(std::span<QuantMatrix* const> parts) override;
    void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
               std::int32_t stride) override;
    void norm_quantize(const Norm& norm, const float* x, std::int32_t rows, QuantRows out) override;
    void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) override;
    void norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) override;
    void norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) override;
    void soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) override;
    void geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                        QuantRows out) override;
    void swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                         QuantRows out) override;
    void matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                const MatmulOut& out) override;
    void rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                       std::int32_t stride, QuantHeads q) override;
    void attend(const AttentionCall& call, const QuantHeads& q, float* out,
                std::int32_t stride) override;

    // The next pass draws a token for each of its rows (sources: PassTables), which end_pass() does
    // not wait for; collect_sampled() does, in order, and up to two passes may be under way.
    void sample_next(std::span<const SampleRow> rows, std::span<const std::int32_t> sources);
    std::span<const TokenId> collect_sampled();
    bool keeps_logits() const override { return sampling_; }

    Machine& machine() { return *machine_; }
    const PassFigures& figures() const { return figures_; }
    std::int32_t page_slots() const { return slots_ ? slots_->slots() : 0; }
    std::int32_t pages_held() const { return slots_ ? slots_->used() : 0; }
    std::int32_t graphs() const { return static_cast<std::int32_t>(graphs_.size()); }

  private:
    // A graph is good for so many rows and attention items, and for the addresses it recorded.
    struct GraphKey {
        std::int32_t rows, items;
        auto operator<=>(const GraphKey&) const = default;
    };
    struct Graph {
        int id;
        PassFigures figures;  // What does not depend on contexts.
    };
    // Angles on the device, as far as they have been wanted.
    struct DeviceRope {
        std::shared_ptr<std::byte> cosine, sine;
        std::int32_t positions = 0;
    };

    void start_restores(const std::vector<PageCopy>& copies);
    void await_restore(std::int32_t bank);
    void drop_graphs();
    void fail_if(const Result<void>& result) const;
    RopeView rope_view(const RopeTable& rope);
    void copy_rope(const RopeTable& rope, DeviceRope& device);
    void grow_ropes(std::int32_t positions, bool& moved);
    void reserve_results(bool& moved);
    void draw_tokens();
    void count_attention();
    void add_to_totals();
    template <class K>
    void attend_tiles(const AttendArgs& args, const DeviceArray<AttendItem>& items,
                      const std::int32_t* count, std::int32_t blocks);
    template <int kDim>
    void attend_of(const AttendArgs& args, const WindowTables& window);
    std::shared_ptr<std::byte> take(std::size_t bytes, Use use);

    std::unique_ptr<Machine> machine_;
    CudaOptions options_;
    std::unique_ptr<ThreadPool> pool_;
    Result<void> failed_;  // The first allocation of a pack() that was refused.
    ModelConfig config_;
    std::shared_ptr<std::byte> arena_;  // Pages.
    std::unique_ptr<PageSlots> slots_;
    std::unique_ptr<PassTables> tables_;
    std::map<const RopeTable*, DeviceRope> ropes_;
    std::map<GraphKey, Graph> graphs_;
    std::shared_ptr<std::byte> logits_, partials_;
    std::size_t logit_bytes_ = 0, partial_bytes_ = 0;
    Gemms gemms_;
    PieceCopier copier_;
    std::vector<std::int32_t> bank_order_;  // As layers read them.

    // Tokens drawn: on the device for the next step, and on their way to the host, step by step.
    struct Drawn {
        std::shared_ptr<std::byte> host;
        std::size_t rows = 0;
        int arrived = -1;  // Event.
    };
    std::shared_ptr<std::byte> sampled_;
    Drawn drawn_[2];
    std::int64_t steps_drawn_ = 0, steps_collected_ = 0;
    bool sampling_ = false;

    // The pass that is under way.
    PassShape shape_;
    std::int32_t real_logit_rows_ = 0;
    GraphKey key_ = {};
    bool recording_ = false;
    bool writes_behind_ = false;
    std::vector<int> bank_event_;      // By bank: what a layer waits for, or -1.
    std::vector<int> restore_events_;  // As bank_order_.
    int begun_ = -1, ended_ = -1, written_ = -1, rows_written_ = -1;
    PassFigures figures_;
    DeviceFigures totals_;  // Without memory, which is asked for.
};

}  // namespace hearth::engine::cuda
