// StagedBackend: what an op reads and writes follows from its arguments' shapes.
#include "tests/engine/kernels/cuda/staged_backend.h"

#include <cstring>
#include <functional>

#include "common/base/check.h"

namespace hearth::engine::testing {

class StagedBackend::Stage {
  public:
    explicit Stage(cuda::CudaBackend& backend) : backend_(backend) {}
    ~Stage() {
        CHECK(backend_.machine().finish().ok());
        for (const std::function<void()>& out : outs_) out();
        CHECK(backend_.machine().finish().ok());
    }

    template <typename T>
    T* in(const T* host, std::size_t count) {
        if (host == nullptr) return nullptr;
        memory_.push_back(backend_.allocate(count * sizeof(T) + 64));
        CHECK(memory_.back() != nullptr);
        auto* device = reinterpret_cast<T*>(memory_.back().get());
        backend_.machine().copy(device, host, count * sizeof(T), cuda::Stream::kCompute);
        return device;
    }
    template <typename T>
    T* inout(T* host, std::size_t count) {
        T* device = in(host, count);
        outs_.push_back([=, this] {
            backend_.machine().copy(host, device, count * sizeof(T), cuda::Stream::kCompute);
        });
        return device;
    }
    QuantRows rows(const QuantRows& host, std::int32_t rows) {
        const auto n = static_cast<std::size_t>(rows);
        return {inout(host.q, n * static_cast<std::size_t>(host.stride)), inout(host.scale, n),
                inout(host.sum, n), host.stride, host.rotated};
    }
    QuantHeads heads(const QuantHeads& host, const AttentionCall& call) {
        const RowRun& last = call.runs.back();
        const auto n = static_cast<std::size_t>((last.first_row + last.rows) * call.heads);
        return {inout(host.q, n * static_cast<std::size_t>(call.kv.head_dim)), inout(host.scale, n),
                inout(host.sum, n)};
    }

  private:
    cuda::CudaBackend& backend_;
    std::vector<std::shared_ptr<std::byte>> memory_;
    std::vector<std::function<void()>> outs_;
};

// The runs of a call with pinned copies for pages, which go back in the end.
struct StagedBackend::StagedPages {
    StagedPages(StagedBackend& backend, const AttentionCall& call) : owner(backend), call_(call) {
        const std::size_t bytes = call.kv.page_bytes();
        for (const RowRun& run : call.runs) {
            auto& pages = lists.emplace_back();
            for (std::int32_t i = 0; i * kPageTokens < run.start + run.rows; ++i) {
                std::shared_ptr<std::byte>& copy = owner.pages_[run.pages[i]];
                if (copy == nullptr) {
                    copy = *owner.inner_.machine().allocate_pinned(bytes);
                    std::memcpy(copy.get(), run.pages[i], bytes);
                }
                pages.push_back(copy.get());
            }
            runs.push_back({run.first_row, run.rows, run.start, pages.data()});
        }
        const RowRun& last = runs.back();
        tokens.assign(static_cast<std::size_t>(last.first_row + last.rows), 0);
        owner.inner_.begin_pass({runs, tokens, {}});
    }
    ~StagedPages() {
        owner.inner_.end_pass(nullptr);
        for (const RowRun& run : call_.runs)
            for (std::int32_t i = 0; i * kPageTokens < run.start + run.rows; ++i)
                std::memcpy(run.pages[i], owner.pages_.at(run.pages[i]).get(),
                            call_.kv.page_bytes());
    }
    AttentionCall call() const {
        AttentionCall out = call_;
        out.runs = runs;
        return out;
    }
    StagedBackend& owner;
    const AttentionCall call_;
    std::vector<std::vector<std::byte*>> lists;
    std::vector<RowRun> runs;
    std::vector<TokenId> tokens;
};

void StagedBackend::prepare_for(const AttentionCall& call) {
    if (call.heads == prepared_.heads && call.kv.head_dim == prepared_.kv.head_dim &&
        call.kv.kv_heads == prepared_.kv.kv_heads && call.window == prepared_.window) {
        return;
    }
    prepared_ = call;
    pages_.clear();
    ModelConfig config;
    config.vocab_size = 1;
    config.hidden = config.ffn_hidden = 64;
    config.heads = call.heads;
    config.kv_heads = call.kv.kv_heads;
    config.head_dim = call.kv.head_dim;
    config.kv_banks = call.kv.banks;
    config.context_length = 1;
    for (std::int32_t bank = 0; bank < call.kv.banks; ++bank)
        config.layers.push_back({.kv_bank = bank, .window = call.window});
    const Result<void> ready = inner_.prepare(config, 512);
    CHECK_MSG(ready.ok(), ready.ok() ? "" : ready.error().message);
}

std::unique_ptr<PackedMatrix> StagedBackend::pack(std::span<QuantMatrix* const> parts) {
    return inner_.pack(parts);
}

void StagedBackend::embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
                          std::int32_t stride) {
    prepare_for({.kv = {1, 1, 4}, .heads = 1, .runs = {}});
    Stage stage(inner_);
    inner_.begin_pass({{}, tokens, {}});
    inner_.embed(table, tokens, stage.inout(out, tokens.size() * static_cast<std::size_t>(stride)),
                 stride);
    inner_.end_pass(nullptr);
}

void StagedBackend::norm_quantize(const Norm& norm, const float* x, std::int32_t rows,
                                  QuantRows out) {
    Stage stage(inner_);
    const auto stride = static_cast<std::size_t>(norm.stride);
    Norm staged = norm;
    staged.gamma = stage.in(norm.gamma, stride);
    inner_.norm_quantize(staged, stage.in(x, stride * static_cast<std::size_t>(rows)), rows,
                         stage.rows(out, rows));
}

void StagedBackend::quantize(const float* x, std::int32_t stride, std::int32_t rows,
                             QuantRows out) {
    Stage stage(inner_);
    inner_.quantize(stage.in(x, static_cast<std::size_t>(stride * rows)), stride, rows,
                    stage.rows(out, rows));
}

void StagedBackend::norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) {
    Stage stage(inner_);
    const auto count = static_cast<std::size_t>(norm.stride) * static_cast<std::size_t>(rows);
    Norm staged = norm;
    staged.gamma = stage.in(norm.gamma, static_cast<std::size_t>(norm.stride));
    inner_.norm_add(staged, stage.in(y, count), rows, stage.inout(x, count));
}

void StagedBackend::norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) {
    Stage stage(inner_);
    Norm staged = norm;
    staged.gamma = stage.in(norm.gamma, static_cast<std::size_t>(norm.width));
    const auto count = static_cast<std::size_t>(norm.stride * (rows - 1) + heads * norm.width);
    inner_.norm_heads(staged, heads, stage.inout(x, count), rows);
}

void StagedBackend::soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) {
    Stage stage(inner_);
    inner_.soft_cap(cap, stage.inout(x, static_cast<std::size_t>(width * rows)), width, rows);
}

void StagedBackend::geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                   QuantRows out) {
    Stage stage(inner_);
    inner_.geglu_quantize(stage.in(gate_up, static_cast<std::size_t>(2 * stride * rows)), stride,
                          rows, stage.rows(out, rows));
}

void StagedBackend::swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                    QuantRows out) {
    Stage stage(inner_);
    inner_.swiglu_quantize(stage.in(gate_up, static_cast<std::size_t>(2 * stride * rows)), stride,
                           rows, stage.rows(out, rows));
}

void StagedBackend::matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                           const MatmulOut& out) {
    Stage stage(inner_);
    MatmulOut staged = out;
    const auto count = static_cast<std::size_t>(out.stride * (rows - 1) + out.width);
    staged.out = stage.inout(out.out, count);
    staged.bias = stage.in(out.bias, static_cast<std::size_t>(w.rows));
    inner_.matmul(stage.rows(x, rows), rows, w, staged);
}

void StagedBackend::rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                                  std::int32_t stride, QuantHeads q) {
    prepare_for(call);
    const StagedPages pages(*this, call);
    Stage stage(inner_);
    AttentionCall staged = pages.call();
    staged.key_shift =
        stage.in(call.key_shift, static_cast<std::size_t>(call.kv.kv_heads * call.kv.head_dim));
    const auto count = static_cast<std::size_t>(stride) * pages.tokens.size();
    inner_.rope_quantize(staged, rope, stage.inout(qkv, count), stride, stage.heads(q, call));
}

void StagedBackend::attend(const AttentionCall& call, const QuantHeads& q, float* out,
                           std::int32_t stride) {
    prepare_for(call);
    const StagedPages pages(*this, call);
    Stage stage(inner_);
    inner_.attend(pages.call(), stage.heads(q, call),
                  stage.inout(out, static_cast<std::size_t>(stride) * pages.tokens.size()), stride);
}

}  // namespace hearth::engine::testing
