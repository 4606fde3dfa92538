// CudaBackend: ops as launches; see cuda_passes.cpp for what surrounds them.
#include "engine/kernels/cuda/cuda_backend.h"

#include <algorithm>

#include "common/base/check.h"
#include "engine/kernels/cuda/cuda_matrix.h"
#include "engine/kernels/cuda/kernel_list.h"
#include "engine/kernels/int4.h"
#include "engine/kernels/rotation.h"

namespace hearth::engine::cuda {
namespace {

const CudaMatrix& view_of(const PackedMatrix& matrix) {
    return static_cast<const CudaMatrix&>(matrix);
}

template <class Row>
void launch_quantize(Machine& machine, const Row& row, std::int32_t width, std::int32_t rows,
                     const QuantRows& out) {
    const QuantizeKernel<Row> kernel{row, width, out};
    launch(machine, kernel, {rows, 1, 1, kernel.shared_bytes(out.stride)});
}

}  // namespace

CudaBackend::CudaBackend(std::unique_ptr<Machine> machine, const CudaOptions& options)
    : machine_(std::move(machine)),
      options_(options),
      pool_(std::make_unique<ThreadPool>(std::max(1, options.threads))),
      begun_(machine_->new_event()),
      ended_(machine_->new_event()),
      written_(machine_->new_event()),
      rows_written_(machine_->new_event()) {}

CudaBackend::~CudaBackend() {
    drop_graphs();
}

std::string CudaBackend::name() const {
    const Device& device = machine_->device();
    return "cuda-sm" + std::to_string(device.major) + std::to_string(device.minor);
}

std::shared_ptr<std::byte> CudaBackend::take(std::size_t bytes, Use use) {
    auto memory = machine_->allocate(bytes, use);
    if (memory) return std::move(memory).value();
    if (failed_) failed_ = memory.error();
    return nullptr;
}

std::shared_ptr<std::byte> CudaBackend::allocate(std::size_t bytes) {
    return take(bytes, Use::kActivations);
}

std::shared_ptr<const float> CudaBackend::constants(std::span<const float> values) {
    if (values.empty()) return nullptr;
    const std::shared_ptr<std::byte> memory = take(values.size_bytes(), Use::kWeights);
    if (memory == nullptr) return nullptr;
    machine_->copy(memory.get(), values.data(), values.size_bytes(), Stream::kCompute);
    if (Result<void> done = machine_->finish(); !done && failed_) failed_ = done.error();
    return {memory, reinterpret_cast<const float*>(memory.get())};
}

std::unique_ptr<PackedMatrix> CudaBackend::pack(std::span<QuantMatrix* const> parts) {
    auto packed = std::make_unique<CudaMatrix>();
    packed->cols = parts.front()->cols;
    for (const QuantMatrix* part : parts) packed->rows += round_up(part->rows, kRowFloats);
    const std::int32_t width = round_up(packed->cols, kRowBytes);
    const auto channels = static_cast<std::size_t>(packed->rows);
    const std::size_t bytes = channels * static_cast<std::size_t>(width);
    std::vector<std::int8_t> q(bytes);
    std::vector<float> scale(channels);
    std::int32_t first = 0;
    for (QuantMatrix* part : parts) {
        CHECK(part->cols == packed->cols);
        pool_->run(part->rows, [&](std::int32_t row, std::int32_t) {
            const auto at = static_cast<std::size_t>(first + row);
            const auto width_bytes = static_cast<std::size_t>(width);
            const std::span to = std::span(q).subspan(at * width_bytes, width_bytes);
            scale[at] = rotate_row(*part, row, to);
            if (part->int4) snap_to_int4(to);
        });
        first += round_up(part->rows, kRowFloats);
        *part = {};
    }
    packed->memory = take(bytes, Use::kWeights);
    packed->scales = take(channels * sizeof(float), Use::kWeights);
    if (packed->memory == nullptr || packed->scales == nullptr) return packed;
    machine_->copy(packed->memory.get(), q.data(), bytes, Stream::kCompute);
    machine_->copy(packed->scales.get(), scale.data(), channels * sizeof(float), Stream::kCompute);
    if (Result<void> done = machine_->finish(); !done && failed_) failed_ = done.error();
    packed->view = {reinterpret_cast<const std::int8_t*>(packed->memory.get()),
                    reinterpret_cast<const float*>(packed->scales.get()), packed->rows, width};
    gemms_.prepare(*machine_, *packed);
    return packed;
}

void CudaBackend::embed(const PackedMatrix& table, std::span<const TokenId>, float* out,
                        std::int32_t stride) {
    launch(*machine_,
           EmbedKernel{view_of(table).view, tables_->tokens(), tables_->sources(),
                       reinterpret_cast<const TokenId*>(sampled_.get()), out, stride},
           {shape_.rows});
}

void CudaBackend::norm_quantize(const Norm& norm, const float* x, std::int32_t rows,
                                QuantRows out) {
    launch_quantize(*machine_, NormedRow{norm, x}, norm.stride, rows, out);
}

void CudaBackend::quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) {
    launch_quantize(*machine_, PlainRow{x, stride}, stride, rows, out);
}

void CudaBackend::swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                  QuantRows out) {
    launch_quantize(*machine_, GatedRow{gate_up, stride, false}, stride, rows, out);
}

void CudaBackend::geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                 QuantRows out) {
    launch_quantize(*machine_, GatedRow{gate_up, stride, true}, stride, rows, out);
}

void CudaBackend::norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) {
    launch(*machine_, NormAddKernel{norm, y, x}, {rows, 1, 1, 32 * sizeof(float)});
}

void CudaBackend::norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) {
    launch(*machine_, NormHeadsKernel{norm, heads, x}, {rows});
}

void CudaBackend::soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) {
    const std::int64_t count = std::int64_t{width} * rows;
    const std::int64_t blocks = (count + SoftCapKernel::kThreads - 1) / SoftCapKernel::kThreads;
    launch(*machine_, SoftCapKernel{cap, x, count}, {static_cast<int>(blocks)});
}

void CudaBackend::gather_rows(const float* from, std::span<const std::int32_t>, std::int32_t stride,
                              float* to) {
    launch(*machine_, GatherRowsKernel{from, tables_->logit_rows(), to, stride},
           {shape_.logit_rows});
}

void CudaBackend::matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                         const MatmulOut& out) {
    if (rows == 0) return;
    const CudaMatrix& matrix = view_of(w);
    gemms_.run(*machine_, x, rows, matrix, out);
    figures_.weight_bytes += std::int64_t{out.width} * matrix.view.width;
    figures_.byte_products += 2.0 * rows * out.width * matrix.view.width;
}

void CudaBackend::rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                                std::int32_t stride, QuantHeads q) {
    const std::int32_t q_width = round_up(call.heads * call.kv.head_dim, kRowFloats);
    const std::int32_t kv_width = round_up(call.kv.kv_heads * call.kv.head_dim, kRowFloats);
    const BankView bank = BankView::of(call.kv, call.kv_bank);
    const RopeQuantizeKernel kernel{.rows = tables_->rows(),
                                    .rope = rope_view(rope),
                                    .kv = bank,
                                    .qkv = qkv,
                                    .stride = stride,
                                    .k_first = q_width,
                                    .v_first = q_width + kv_width,
                                    .heads = call.heads,
                                    .writes_kv = call.writes_kv,
                                    .score_factor = kLog2E * call.score_scale,
                                    .key_shift = call.key_shift,
                                    .q = q};
    if (call.writes_kv) await_restore(call.kv_bank);
    launch(*machine_, kernel, kernel.grid(shape_.rows));
    if (!call.writes_kv) return;
    // New rows go to the caller's pages beside what follows.
    machine_->record(written_, Stream::kCompute);
    machine_->wait(Stream::kWriteBehind, written_);
    const WriteBehindKernel behind{tables_->rows(), bank};
    launch(*machine_, behind, behind.grid(shape_.rows), Stream::kWriteBehind);
    writes_behind_ = true;
    figures_.written_bytes += std::int64_t{shape_.rows} * 2 * call.kv.kv_heads *
                              (call.kv.head_dim + std::int64_t{sizeof(float)});
}

template <class K>
void CudaBackend::attend_tiles(const AttendArgs& args, const DeviceArray<AttendItem>& items,
                               const std::int32_t* count, std::int32_t blocks) {
    AttendArgs with_items = args;
    with_items.items = items.data();
    with_items.item_count = count;
    launch(*machine_, K{with_items},
           {blocks, 1, (args.kv.head_dim + K::kOutDims - 1) / K::kOutDims, K::kShared});
}

template <int kDim>
void CudaBackend::attend_of(const AttendArgs& args, const WindowTables& window) {
    const auto single = static_cast<std::int32_t>(window.plan.single.size());
    const auto shared = static_cast<std::int32_t>(window.plan.shared.size());
    attend_tiles<AttendOf<kDim, 1>>(args, window.single, window.counts.data(),
                                    recording_ ? key_.items : single);
    attend_tiles<AttendOf<kDim, 4>>(args, window.shared, window.counts.data() + 1, shared);
}

void CudaBackend::attend(const AttentionCall& call, const QuantHeads& q, float* out,
                         std::int32_t stride) {
    await_restore(call.kv_bank);
    const WindowTables& window = tables_->of_window(call.window);
    const AttendArgs args{.items = nullptr,
                          .item_count = nullptr,
                          .rows = tables_->rows(),
                          .kv = BankView::of(call.kv, call.kv_bank),
                          .q = q,
                          .heads = call.heads,
                          .group = call.heads / call.kv.kv_heads,
                          .window = call.window,
                          .softcap = call.softcap * kLog2E,  // Scores are in base 2, and so is it.
                          .out = out,
                          .stride = stride,
                          .partials = reinterpret_cast<float*>(partials_.get())};
    const std::int32_t dim = call.kv.head_dim;
    if (dim <= 64) attend_of<64>(args, window);
    if (dim > 64 && dim <= 128) attend_of<128>(args, window);
    if (dim > 128 && dim <= 256) attend_of<256>(args, window);
    if (dim > 256) attend_of<512>(args, window);
    const auto cut = static_cast<std::int32_t>(window.plan.combine.size());
    launch(*machine_,
           CombineKernel{window.combine.data(), window.counts.data() + 2, args.partials, out,
                         stride, dim},
           {recording_ ? shape_.rows : cut, call.heads});
}

}  // namespace hearth::engine::cuda
