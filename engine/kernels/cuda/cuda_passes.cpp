// CudaBackend's passes: tables and pages before the ops, graphs around them, logits after them.
#include <algorithm>

#include "common/base/check.h"
#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/cuda/graph_buckets.h"
#include "engine/kernels/cuda/kernel_list.h"

namespace hearth::engine::cuda {
namespace {

Result<void> check_model(const ModelConfig& config, const Device& device) {
    const auto wide = static_cast<std::size_t>(round_up(config.ffn_hidden, kRowBytes));
    const auto hidden = static_cast<std::size_t>(round_up(config.hidden, kRowBytes));
    const std::size_t row =
        QuantizeKernel<PlainRow>::shared_bytes(static_cast<std::int32_t>(std::max(wide, hidden)));
    const std::size_t tile = config.head_dim > 256 ? AttendOf<512, 4>::kShared : 0;
    if (std::max(row, tile) <= device.shared_bytes) return {};
    return make_error(ErrorCode::kUnsupported,
                      "engine backend cuda: rows of " + std::to_string(std::max(wide, hidden)) +
                          " or heads of " + std::to_string(config.head_dim) +
                          " do not fit the shared memory of " + device.name);
}

}  // namespace

double PassFigures::gb_per_second() const {
    const auto bytes = static_cast<double>(weight_bytes + kv_bytes);
    return milliseconds > 0.0 ? bytes / milliseconds / 1e6 : 0.0;
}

double PassFigures::tops() const {
    return milliseconds > 0.0 ? (byte_products + half_products) / milliseconds / 1e9 : 0.0;
}

Result<void> CudaBackend::prepare(const ModelConfig& config, std::int32_t) {
    if (!failed_) return failed_;
    if (!gemms_.failed()) return gemms_.failed();
    if (Result<void> fits = check_model(config, machine_->device()); !fits) return fits;
    config_ = config;
    const KvLayout kv = KvLayout::of(config);
    const auto share =
        static_cast<std::size_t>(static_cast<double>(machine_->bytes_free()) * options_.page_share);
    const std::size_t bytes = std::min(share, options_.page_bytes_max);
    const std::size_t slots = std::min<std::size_t>(bytes / kv.page_bytes(), 1u << 30);
    if (slots * kPageTokens < static_cast<std::size_t>(config.context_length)) {
        return make_error(ErrorCode::kExhausted,
                          "engine backend cuda: " + std::to_string(bytes >> 20) +
                              " MiB for KV pages hold " + std::to_string(slots * kPageTokens) +
                              " tokens, less than the model's context of " +
                              std::to_string(config.context_length));
    }
    auto arena = machine_->allocate(slots * kv.page_bytes(), Use::kPages);
    if (!arena) return arena.error();
    arena_ = std::move(arena).value();
    slots_ = std::make_unique<PageSlots>(static_cast<std::int32_t>(slots));
    TableOptions tables;
    tables.kv = kv;
    tables.heads = config.heads;
    tables.arena = arena_.get();
    const auto add_once = [](std::vector<std::int32_t>& to, std::int32_t value) {
        if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
    };
    for (const LayerShape& layer : config.layers) {
        add_once(tables.windows, layer.window);
        add_once(tables.bank_order, layer.kv_bank);
    }
    bank_order_ = tables.bank_order;
    restore_events_.clear();
    for (std::size_t i = 0; i < bank_order_.size(); ++i)
        restore_events_.push_back(machine_->new_event());
    bank_event_.assign(static_cast<std::size_t>(kv.banks), -1);
    tables_ = std::make_unique<PassTables>(*machine_, std::move(tables));
    auto sampled = machine_->allocate(kLargestBucket * sizeof(TokenId), Use::kTables);
    if (!sampled) return sampled.error();
    sampled_ = std::move(sampled).value();
    for (Drawn& drawn : drawn_) {
        auto host = machine_->allocate_pinned(kLargestBucket * sizeof(TokenId));
        if (!host) return host.error();
        drawn.host = std::move(host).value();
        if (drawn.arrived < 0) drawn.arrived = machine_->new_event();
    }
    return machine_->finish();
}

std::int64_t CudaBackend::pages_per_pass() const {
    return slots_ ? slots_->slots() : 0;
}

Result<void> CudaBackend::use_page_memory(std::span<std::byte> memory) {
    return machine_->pin(memory);
}

void CudaBackend::page_changed(const std::byte* page) {
    if (slots_) slots_->forget(page);
}

void CudaBackend::fail_if(const Result<void>& result) const {
    CHECK_MSG(result.ok(), result.ok() ? "" : "CUDA: " + result.error().message);
}

void CudaBackend::drop_graphs() {
    for (const auto& [key, graph] : graphs_) machine_->drop_graph(graph.id);
    graphs_.clear();
}

PassShape CudaBackend::begin_pass(const Pass& pass) {
    const auto rows = static_cast<std::int32_t>(pass.tokens.size());
    real_logit_rows_ = static_cast<std::int32_t>(pass.logit_rows.size());
    bool decodes = options_.graphs && real_logit_rows_ == rows && rows <= kLargestBucket;
    std::int32_t positions = 0;
    for (const RowRun& run : pass.runs) {
        decodes = decodes && run.rows == 1;
        positions = std::max(positions, run.start + run.rows);
    }
    const std::int32_t padded = decodes ? bucket_of(rows) : rows;
    shape_ = {padded, decodes ? padded : real_logit_rows_, false};
    figures_ = {};
    writes_behind_ = false;
    bool moved = false;
    const std::vector<PageCopy> copies = tables_->fill(pass, padded, *slots_, moved);
    grow_ropes(positions, moved);
    reserve_results(moved);
    if (moved && !graphs_.empty()) {
        fail_if(machine_->finish());  // One may be running.
        drop_graphs();
    }
    start_restores(copies);
    key_ = {padded, item_bucket_of(tables_->most_single())};
    // The first pass of all finds out what there is to allocate, and is not recorded. One that
    // waits for restores, layer by layer, is not like those that come after it.
    const bool records = decodes && copies.empty() && !ropes_.empty();
    const auto known = graphs_.find(key_);
    machine_->record(begun_, Stream::kCompute);
    if (records && known != graphs_.end()) {
        machine_->replay(known->second.id);
        const std::int64_t restored = figures_.restored_bytes;
        figures_ = known->second.figures;
        figures_.restored_bytes = restored;
        figures_.replayed = true;
        shape_.done = true;
    } else if (records) {
        machine_->begin_graph();
        recording_ = true;
    }
    return shape_;
}

void CudaBackend::start_restores(const std::vector<PageCopy>& copies) {
    std::fill(bank_event_.begin(), bank_event_.end(), -1);
    if (copies.empty()) return;
    const KvLayout kv = KvLayout::of(config_);
    const CopyPlan plan = plan_copies(copies, kv, bank_order_);
    // A slot may have been another page's until the last pass ended.
    machine_->wait(Stream::kRestore, ended_);
    for (std::size_t i = 0; i < bank_order_.size(); ++i) {
        const std::span pieces =
            std::span(plan.pieces).subspan(plan.offsets[i], plan.offsets[i + 1] - plan.offsets[i]);
        if (options_.copy_kernel) {
            copier_.copy(*machine_, pieces, Stream::kRestore);
        } else {
            machine_->copy_batch(pieces, Stream::kRestore);
        }
        machine_->record(restore_events_[i], Stream::kRestore);
        bank_event_[static_cast<std::size_t>(bank_order_[i])] = restore_events_[i];
    }
    figures_.restored_bytes = static_cast<std::int64_t>(copies.size() * kv.page_bytes());
}

// Before the first kernel that touches a bank whose pages are on their way.
void CudaBackend::await_restore(std::int32_t bank) {
    int& event = bank_event_[static_cast<std::size_t>(bank)];
    if (event < 0) return;
    machine_->wait(Stream::kCompute, event);
    event = -1;
}

void CudaBackend::reserve_results(bool& moved) {
    const auto grow = [&](std::shared_ptr<std::byte>& memory, std::size_t& size,
                          std::size_t wanted) {
        if (wanted <= size) return;
        size = wanted + wanted / 2;
        auto made = machine_->allocate(size, Use::kActivations);
        CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
        memory = std::move(made).value();
        moved = true;
    };
    const auto slots = static_cast<std::size_t>(tables_->most_partials());
    grow(partials_, partial_bytes_,
         slots * (2 + static_cast<std::size_t>(config_.head_dim)) * sizeof(float));
    grow(logits_, logit_bytes_,
         static_cast<std::size_t>(shape_.logit_rows) *
             static_cast<std::size_t>(config_.vocab_size) * sizeof(float));
}

float* CudaBackend::logits_of_pass(float*) {
    return reinterpret_cast<float*>(logits_.get());
}

void CudaBackend::sample_next(std::span<const SampleRow> rows,
                              std::span<const std::int32_t> sources) {
    CHECK(!sampling_ && rows.size() <= kLargestBucket && steps_drawn_ - steps_collected_ < 2);
    tables_->sample_next(rows, sources);
    sampling_ = true;
}

void CudaBackend::draw_tokens() {
    Drawn& drawn = drawn_[steps_drawn_++ % 2];
    drawn.rows = static_cast<std::size_t>(real_logit_rows_);
    auto* tokens = reinterpret_cast<TokenId*>(sampled_.get());
    launch(*machine_,
           SampleKernel{logits_of_pass(nullptr), tables_->samples(), tokens, config_.vocab_size},
           {real_logit_rows_, 1, 1, SampleKernel::kThreads / kWarp * 2 * sizeof(float)});
    machine_->copy(drawn.host.get(), tokens, drawn.rows * sizeof(TokenId), Stream::kCompute);
    machine_->record(drawn.arrived, Stream::kCompute);
    sampling_ = false;
}

std::span<const TokenId> CudaBackend::collect_sampled() {
    CHECK(steps_collected_ < steps_drawn_);
    const Drawn& drawn = drawn_[steps_collected_++ % 2];
    fail_if(machine_->wait_host(drawn.arrived));
    return {reinterpret_cast<const TokenId*>(drawn.host.get()), drawn.rows};
}

void CudaBackend::end_pass(float* logits) {
    if (writes_behind_) {
        machine_->record(rows_written_, Stream::kWriteBehind);
        machine_->wait(Stream::kCompute, rows_written_);
    }
    if (recording_) {
        recording_ = false;
        const int graph = machine_->end_graph();
        if (graph >= 0) {
            graphs_[key_] = {graph, figures_};
            machine_->replay(graph);
        }
    }
    machine_->record(ended_, Stream::kCompute);
    count_attention();
    if (sampling_) return draw_tokens();
    const std::size_t floats =
        static_cast<std::size_t>(real_logit_rows_) * static_cast<std::size_t>(config_.vocab_size);
    if (floats > 0) machine_->copy(logits, logits_.get(), floats * sizeof(float), Stream::kCompute);
    fail_if(machine_->finish());
    figures_.milliseconds = machine_->milliseconds(begun_, ended_);
    add_to_totals();
}

void CudaBackend::add_to_totals() {
    totals_.busy_seconds += figures_.milliseconds * 1e-3;
    totals_.read_bytes += figures_.weight_bytes + figures_.kv_bytes;
    totals_.operations += figures_.byte_products + figures_.half_products;
    ++totals_.passes;
    totals_.replayed += figures_.replayed ? 1 : 0;
    totals_.restored_bytes += figures_.restored_bytes;
    totals_.written_bytes += figures_.written_bytes;
    const auto page = static_cast<std::int64_t>(KvLayout::of(config_).page_bytes());
    totals_.copies_waiting = figures_.restored_bytes / page;
}

std::optional<DeviceFigures> CudaBackend::device_figures() const {
    DeviceFigures figures = totals_;
    const Device& device = machine_->device();
    figures.name = device.name;
    figures.bus_id = device.bus_id;
    figures.memory_bytes = static_cast<std::int64_t>(device.memory_bytes);
    for (std::size_t use = 0; use < kUseNames.size(); ++use)
        figures.memory.push_back({kUseNames[use], static_cast<std::int64_t>(machine_->bytes_used(
                                                      static_cast<Use>(use)))});
    return figures;
}

// K and V that attention reads, and its products, over all layers.
void CudaBackend::count_attention() {
    const KvLayout kv = KvLayout::of(config_);
    for (const LayerShape& layer : config_.layers) {
        figures_.kv_bytes +=
            tables_->pages_attended(layer.window) * static_cast<std::int64_t>(kv.head_bytes());
        const double products = 2.0 * static_cast<double>(tables_->keys_attended(layer.window)) *
                                config_.heads * config_.head_dim;
        figures_.byte_products += products;
        figures_.half_products += 2 * products;  // Both halves of the probabilities.
    }
}

RopeView CudaBackend::rope_view(const RopeTable& rope) {
    const bool known = ropes_.contains(&rope);
    DeviceRope& device = ropes_[&rope];
    if (!known) copy_rope(rope, device);
    return {reinterpret_cast<const float*>(device.cosine.get()),
            reinterpret_cast<const float*>(device.sine.get()), rope.pairs(),
            rope.style() == RopeStyle::kHalves};
}

void CudaBackend::copy_rope(const RopeTable& rope, DeviceRope& device) {
    const std::size_t bytes = static_cast<std::size_t>(rope.positions()) *
                              static_cast<std::size_t>(rope.pairs()) * sizeof(float);
    device.positions = rope.positions();
    const auto copy = [&](std::shared_ptr<std::byte>& to, const float* from) {
        auto made = machine_->allocate(std::max<std::size_t>(bytes, 1), Use::kTables);
        CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
        to = std::move(made).value();
        machine_->copy(to.get(), from, bytes, Stream::kCompute);
    };
    copy(device.cosine, rope.cos_of(0));
    copy(device.sine, rope.sin_of(0));
}

void CudaBackend::grow_ropes(std::int32_t positions, bool& moved) {
    for (auto& [rope, device] : ropes_) {
        if (device.positions >= positions) continue;
        CHECK(rope->positions() >= positions);
        copy_rope(*rope, device);
        moved = true;
    }
}

}  // namespace hearth::engine::cuda
