// The cpu backend: cuts every op into tasks for the thread pool and hands them to one ISA's
// kernels.
#include "engine/kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/kernels/aligned.h"
#include "engine/kernels/cpu/amx_access.h"
#include "engine/kernels/cpu/kernels.h"
#include "engine/kernels/int4.h"
#include "engine/kernels/rotation.h"
#include "engine/kernels/thread_pool.h"

namespace hearth::engine {
namespace {

using cpu::CpuKernels;

struct CpuMatrix final : PackedMatrix {
    cpu::PackedView view;
    std::shared_ptr<std::byte> memory;  // Scales, then bytes, or the nibbles and grid of int4.
};
const cpu::PackedView& view_of(const PackedMatrix& matrix) {
    return static_cast<const CpuMatrix&>(matrix).view;
}

// Rows per task of the element-wise ops; fewer are not worth waking a worker for.
constexpr std::int32_t kRowsPerTask = 8;
// A matmul task is a panel of 64 output channels by up to this many rows: the panel stays in the
// second-level cache while the rows pass.
constexpr std::int32_t kBlocksPerPanel = 4;
constexpr std::int32_t kPanelGroupBytes = 64 * kBlocksPerPanel;
constexpr std::int32_t kRowsPerPanel = 96;
// Query vectors of one attention task: their state and one page fit the first-level cache.
constexpr std::int32_t kVectorsPerTask = 48;
// Fewer, and threads wait for the longest: three KV heads of one sequence on two threads.
constexpr std::int32_t kTasksPerThread = 4;

class CpuBackend final : public Backend {
  public:
    CpuBackend(const CpuKernels& kernels, std::int32_t threads, std::span<const int> cpus)
        : kernels_(kernels), pool_(threads, cpus), scratch_(static_cast<std::size_t>(threads)) {}

    std::string name() const override { return std::string("cpu-") + kernels_.isa; }
    std::unique_ptr<PackedMatrix> pack(std::span<QuantMatrix* const> parts) override;
    void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
               std::int32_t stride) override;
    void norm_quantize(const Norm& norm, const float* x, std::int32_t rows, QuantRows out) override;
    void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) override;
    void swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                         QuantRows out) override;
    void geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                        QuantRows out) override;
    void norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) override;
    void norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) override;
    void soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) override;
    void matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                const MatmulOut& out) override;
    void rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                       std::int32_t stride, QuantHeads q) override;
    void attend(const AttentionCall& call, const QuantHeads& q, float* out,
                std::int32_t stride) override;

  private:
    void run_attend_tasks();
    void attend_split();

    // Calls each(row, worker) for every row, some rows to a task.
    template <typename Each>
    void for_rows(std::int32_t rows, const Each& each) {
        const std::int32_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
        pool_.run(tasks, [&](std::int32_t task, std::int32_t worker) {
            const std::int32_t end = std::min(rows, (task + 1) * kRowsPerTask);
            for (std::int32_t row = task * kRowsPerTask; row < end; ++row) each(row, worker);
        });
    }
    // Calls each(row, scratch) for every row; `scratch` has room for a row of `out` as floats.
    template <typename Each>
    void quantize_rows(std::int32_t rows, const QuantRows& out, const Each& each) {
        reserve_scratch(static_cast<std::size_t>(out.stride) * sizeof(float));
        for_rows(rows, [&](std::int32_t row, std::int32_t worker) {
            each(row, reinterpret_cast<float*>(scratch_of(worker)));
        });
    }
    void reserve_scratch(std::size_t bytes) {
        for (AlignedBuffer<std::byte>& scratch : scratch_) scratch.reserve(bytes);
    }
    std::byte* scratch_of(std::int32_t worker) {
        return scratch_[static_cast<std::size_t>(worker)].data();
    }

    void pack_row(std::span<const std::int8_t> q, const cpu::PackedView& w, std::int32_t row) {
        if (w.nibbles == nullptr) return kernels_.pack_row(q.data(), w, row);
        for (std::size_t at = 0; at < q.size(); at += kInt4Group) {
            const Int4Group group = fit_int4(q.subspan(at).first<kInt4Group>());
            kernels_.pack_int4({group.base, group.step, group.nibbles.data()}, w, row,
                               static_cast<std::int32_t>(at) / kInt4Group);
        }
    }

    const CpuKernels& kernels_;
    ThreadPool pool_;
    Arena arena_;  // Weights, in the order in which they are packed and a step reads them.
    std::vector<AlignedBuffer<std::byte>> scratch_;  // One per thread.
    std::vector<cpu::AttendTask> attend_tasks_;
    AlignedBuffer<float> partials_;
};

std::unique_ptr<PackedMatrix> CpuBackend::pack(std::span<QuantMatrix* const> parts) {
    auto packed = std::make_unique<CpuMatrix>();
    packed->cols = parts.front()->cols;
    for (const QuantMatrix* part : parts) packed->rows += round_up(part->rows, kRowFloats);
    const std::int32_t width = round_up(packed->cols, kRowBytes);
    const auto channels = static_cast<std::size_t>(packed->rows);
    const std::size_t weights = channels * static_cast<std::size_t>(width);
    const bool int4 = parts.front()->int4;
    const std::size_t weight_bytes = int4 ? weights / 2 : weights;
    const std::size_t grid_bytes = int4 ? weights / kInt4Group * 2 : 0;
    packed->memory = arena_.take(channels * sizeof(float) + weight_bytes + grid_bytes);
    auto* scales = reinterpret_cast<float*>(packed->memory.get());
    auto* bytes = reinterpret_cast<std::uint8_t*>(scales + channels);
    packed->view.groups = width / 4;
    packed->view.scale = scales;
    (int4 ? packed->view.nibbles : packed->view.bytes) = bytes;
    if (int4) packed->view.grid = bytes + weight_bytes;
    std::int32_t first = 0;
    for (QuantMatrix* part : parts) {
        CHECK(part->cols == packed->cols && part->int4 == int4);
        const std::int32_t padded = round_up(part->rows, kRowFloats);
        pool_.run(padded / kRowFloats, [&](std::int32_t block, std::int32_t) {
            std::vector<std::int8_t> q(static_cast<std::size_t>(width));
            for (std::int32_t i = 0; i < kRowFloats; ++i) {
                const std::int32_t row = block * kRowFloats + i;
                const bool real = row < part->rows;
                if (!real) std::fill(q.begin(), q.end(), std::int8_t{0});
                scales[first + row] = real ? rotate_row(*part, row, q) : 0.0f;
                pack_row(q, packed->view, first + row);
            }
        });
        first += padded;
        *part = {};
    }
    return packed;
}

void CpuBackend::embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
                       std::int32_t stride) {
    const cpu::PackedView& w = view_of(table);
    for_rows(static_cast<std::int32_t>(tokens.size()), [&](std::int32_t row, std::int32_t) {
        kernels_.embed_row(w, tokens[static_cast<std::size_t>(row)],
                           out + static_cast<std::ptrdiff_t>(row) * stride, stride);
    });
}

void CpuBackend::norm_quantize(const Norm& norm, const float* x, std::int32_t rows, QuantRows out) {
    quantize_rows(rows, out, [&](std::int32_t row, float* scratch) {
        kernels_.norm_quantize_row(norm, x + static_cast<std::ptrdiff_t>(row) * norm.stride, out,
                                   row, scratch);
    });
}

void CpuBackend::quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) {
    quantize_rows(rows, out, [&](std::int32_t row, float* scratch) {
        kernels_.quantize_row(x + static_cast<std::ptrdiff_t>(row) * stride, stride, out, row,
                              scratch);
    });
}

void CpuBackend::swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                 QuantRows out) {
    quantize_rows(rows, out, [&](std::int32_t row, float* scratch) {
        kernels_.swiglu_quantize_row(gate_up + static_cast<std::ptrdiff_t>(row) * 2 * stride,
                                     stride, out, row, scratch);
    });
}

void CpuBackend::geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                QuantRows out) {
    quantize_rows(rows, out, [&](std::int32_t row, float* scratch) {
        kernels_.geglu_quantize_row(gate_up + static_cast<std::ptrdiff_t>(row) * 2 * stride, stride,
                                    out, row, scratch);
    });
}

void CpuBackend::norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) {
    for_rows(rows, [&](std::int32_t row, std::int32_t) {
        const auto at = static_cast<std::ptrdiff_t>(row) * norm.stride;
        kernels_.norm_add_row(norm, y + at, x + at);
    });
}

void CpuBackend::norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) {
    for_rows(rows, [&](std::int32_t row, std::int32_t) {
        kernels_.norm_heads_row(norm, heads, x + static_cast<std::ptrdiff_t>(row) * norm.stride);
    });
}

void CpuBackend::soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) {
    for_rows(rows, [&](std::int32_t row, std::int32_t) {
        kernels_.soft_cap_row(cap, x + static_cast<std::ptrdiff_t>(row) * width, width);
    });
}

void CpuBackend::matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                        const MatmulOut& out) {
    const cpu::PackedView& packed = view_of(w);
    const std::int32_t blocks = (out.width + kRowFloats - 1) / kRowFloats;
    const std::int32_t panels = (blocks + kBlocksPerPanel - 1) / kBlocksPerPanel;
    const std::int32_t chunks = (rows + kRowsPerPanel - 1) / kRowsPerPanel;
    if (packed.nibbles != nullptr) {
        reserve_scratch(static_cast<std::size_t>(packed.groups) * kPanelGroupBytes);
    }
    // The panel that this thread is likely to take next; after the last ones, the next matrix.
    const bool is_int4 = packed.nibbles != nullptr;
    const std::uint8_t* first = is_int4 ? packed.nibbles : packed.bytes;
    const std::int32_t lines = is_int4 ? kBlocksPerPanel / 2 : kBlocksPerPanel;
    const std::ptrdiff_t panel_bytes = static_cast<std::ptrdiff_t>(packed.groups) * lines * 64;
    pool_.run(panels * chunks, [&](std::int32_t task, std::int32_t worker) {
        auto* scratch = reinterpret_cast<std::uint8_t*>(scratch_of(worker));
        const std::int32_t block = task / chunks * kBlocksPerPanel;
        const std::int32_t row = task % chunks * kRowsPerPanel;
        kernels_.matmul({.x = &x,
                         .w = &packed,
                         .out = &out,
                         .block_begin = block,
                         .block_end = std::min(blocks, block + kBlocksPerPanel),
                         .row_begin = row,
                         .row_end = std::min(rows, row + kRowsPerPanel),
                         .ahead = first + (task / chunks + pool_.threads()) * panel_bytes,
                         .ahead_lines = row + kRowsPerPanel >= rows ? lines : 0,  // The last.
                         .scratch = scratch});
    });
}

void CpuBackend::rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                               std::int32_t stride, QuantHeads q) {
    const RowRun& last = call.runs.back();
    for_rows(last.first_row + last.rows, [&](std::int32_t row, std::int32_t) {
        // Runs follow each other: the last that begins at or before the row has it.
        const auto after =
            std::upper_bound(call.runs.begin(), call.runs.end(), row,
                             [](std::int32_t r, const RowRun& run) { return r < run.first_row; });
        const RowRun& run = *(after - 1);
        kernels_.rope_quantize({.call = &call,
                                .rope = &rope,
                                .run = &run,
                                .row = row - run.first_row,
                                .qkv = qkv + static_cast<std::ptrdiff_t>(row) * stride,
                                .q = q});
    });
}

void CpuBackend::attend(const AttentionCall& call, const QuantHeads& q, float* out,
                        std::int32_t stride) {
    const std::int32_t group = call.heads / call.kv.kv_heads;
    const std::int32_t rows_per_task = std::max(1, kVectorsPerTask / group);
    // A page's heads are neighbours in memory: one task takes them all where there are enough
    // tasks.
    const bool all_heads = std::ssize(call.runs) >= 2 * pool_.threads() || pool_.threads() == 1;
    attend_tasks_.clear();
    std::int32_t vectors = 0, longest = 0;
    for (const RowRun& run : call.runs) {
        longest = std::max(longest, run.start + run.rows);
        const std::int32_t heads = all_heads && run.rows == 1 ? call.kv.kv_heads : 1;
        for (std::int32_t row = 0; row < run.rows; row += rows_per_task) {
            const std::int32_t end = std::min(run.rows, row + rows_per_task);
            vectors = std::max(vectors, (end - row) * heads * group);
            for (std::int32_t h = 0; h < call.kv.kv_heads; h += heads) {
                attend_tasks_.push_back({.call = &call,
                                         .q = &q,
                                         .run = &run,
                                         .out = out,
                                         .stride = stride,
                                         .head_begin = h,
                                         .head_end = h + heads,
                                         .row_begin = row,
                                         .row_end = end,
                                         .segment = -1,
                                         .partial = nullptr,
                                         .next = nullptr,
                                         .scratch = nullptr});
            }
        }
    }
    reserve_scratch(kernels_.attend_scratch(call.kv.head_dim, vectors));
    const bool is_long = longest > cpu::kAttendSegment * kPageTokens;
    const bool is_few = std::ssize(attend_tasks_) < kTasksPerThread * pool_.threads();
    if (is_long && is_few && pool_.threads() > 1) return attend_split();
    run_attend_tasks();
}

void CpuBackend::run_attend_tasks() {
    const auto tasks = static_cast<std::int32_t>(attend_tasks_.size());
    pool_.run(tasks, [&](std::int32_t i, std::int32_t worker) {
        cpu::AttendTask task = attend_tasks_[static_cast<std::size_t>(i)];
        const auto next = static_cast<std::size_t>(i + pool_.threads());
        if (next < attend_tasks_.size()) task.next = &attend_tasks_[next];
        task.scratch = scratch_of(worker);
        kernels_.attend(task);
    });
}

// Too few tasks for all threads: each becomes one for every segment of its context, and what those
// give is added up afterwards in the order of the text.
void CpuBackend::attend_split() {
    const std::vector<cpu::AttendTask> whole = attend_tasks_;
    const auto segments_of = [](const cpu::AttendTask& task) {
        return (task.run->start + task.row_end - 1) / (cpu::kAttendSegment * kPageTokens) + 1;
    };
    const auto floats_of = [](const cpu::AttendTask& task) {
        const AttentionCall& call = *task.call;
        const std::int32_t vectors = (task.row_end - task.row_begin) * call.heads /
                                     call.kv.kv_heads * (task.head_end - task.head_begin);
        return static_cast<std::size_t>(vectors * cpu::partial_floats(call.kv.head_dim));
    };
    std::size_t floats = 0;
    for (const cpu::AttendTask& task : whole)
        floats += floats_of(task) * static_cast<std::size_t>(segments_of(task));
    partials_.reserve(floats);
    attend_tasks_.clear();
    std::vector<float*> partials;
    float* next = partials_.data();
    for (cpu::AttendTask task : whole) {
        partials.push_back(next);
        for (task.segment = 0; task.segment < segments_of(task); ++task.segment) {
            task.partial = next;
            next += floats_of(task);
            attend_tasks_.push_back(task);
        }
    }
    run_attend_tasks();
    pool_.run(static_cast<std::int32_t>(whole.size()), [&](std::int32_t i, std::int32_t worker) {
        cpu::AttendTask task = whole[static_cast<std::size_t>(i)];
        task.partial = partials[static_cast<std::size_t>(i)];
        task.scratch = scratch_of(worker);
        kernels_.combine(task, segments_of(task));
    });
}

// The table of `isa` if build and machine have it.
const CpuKernels* kernels_for(const std::string& isa) {
    if (isa == "generic") return cpu::generic_kernels();
#if defined(__x86_64__)
    if (isa == "avx2" && __builtin_cpu_supports("avx2")) return cpu::avx2_kernels();
    if (isa == "avxvnni" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avxvnni"))
        return cpu::avxvnni_kernels();
    const bool has_avx512 =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni");
    if (isa == "avx512vnni" && has_avx512) return cpu::avx512vnni_kernels();
    if (isa == "amx" && has_avx512 && cpu::amx_is_usable()) return cpu::amx_kernels();
#endif
    return nullptr;
}

constexpr const char* kIsas[] = {"amx", "avx512vnni", "avxvnni", "avx2", "generic"};

}  // namespace

std::vector<std::string> usable_cpu_isas() {
    std::vector<std::string> out;
    for (const char* isa : kIsas)
        if (kernels_for(isa) != nullptr) out.emplace_back(isa);
    return out;
}

std::int64_t probe_cpu_products(const std::string& isa, std::int32_t rounds) {
    const CpuKernels* kernels = kernels_for(isa == "auto" ? usable_cpu_isas().front() : isa);
    CHECK(kernels != nullptr);
    return kernels->probe_products(rounds);
}

Result<std::unique_ptr<Backend>> make_cpu_backend(const std::string& isa, std::int32_t threads,
                                                  std::span<const int> cpus) {
    const std::string name = isa == "auto" ? usable_cpu_isas().front() : isa;
    if (std::find(std::begin(kIsas), std::end(kIsas), name) == std::end(kIsas)) {
        return make_error(
            ErrorCode::kInvalidArgument,
            "engine isa '" + isa + "': must be auto, amx, avx512vnni, avxvnni, avx2 or generic");
    }
    const CpuKernels* kernels = kernels_for(name);
    if (kernels == nullptr) {
        return make_error(ErrorCode::kUnsupported,
                          "engine isa '" + isa + "': this machine or build lacks it");
    }
    return make_cpu_backend(*kernels, threads, cpus);
}

std::unique_ptr<Backend> make_cpu_backend(const CpuKernels& kernels, std::int32_t threads,
                                          std::span<const int> cpus) {
    return std::make_unique<CpuBackend>(kernels, threads, cpus);
}

}  // namespace hearth::engine
