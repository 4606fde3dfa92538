// Engine: what the scheduler drives. One step runs a batch of token slices through the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/base/result.h"
#include "engine/device_figures.h"
#include "engine/model/checkpoint.h"
#include "engine/model/kv_layout.h"

namespace hearth::engine {

// New tokens of one sequence in one step. `pages[i]` holds tokens [64 i, 64 i + 64); the pages of
// [0, start) are filled, and the engine writes K and V of [start, start + tokens.size()).
struct Slice {
    std::span<std::byte* const> pages;  // Long enough for start + tokens.size(); 64-byte aligned.
    std::int32_t start = 0;
    std::span<const TokenId> tokens;
    enum class Logits { kNone, kLast, kAll } logits = Logits::kLast;
};

// One owner thread. Results of a row depend only on that row's tokens and history: never on what
// else is in the batch, how a prompt is cut into slices, or the number of threads (design §1.3).
class Engine {
  public:
    virtual ~Engine() = default;
    virtual const ModelConfig& config() const = 0;
    virtual const KvLayout& kv_layout() const = 0;
    virtual std::string backend_name() const = 0;  // "cpu-avx512vnni", "ref", "fake", ...

    // Rows of logits are written one after another, slice by slice, vocab_size floats each.
    // `logits` must hold as many rows as the slices ask for. Blocks until done.
    virtual void step(std::span<const Slice> batch, std::span<float> logits) = 0;

    // Where the caller's pages lie; a backend with memory of its own (cuda) keeps copies of pages
    // there, and wants to be told once, before the first step, so that they move at full speed.
    virtual Result<void> use_page_memory(std::span<std::byte> /*memory*/) { return {}; }
    // The caller wrote to a page itself, or uses it for other tokens: copies of it are stale. What
    // step() wrote, and pages whose first token a step writes, need no such call.
    virtual void page_changed(const std::byte* /*page*/) {}
    // Of a backend with memory of its own; cheap enough for each step.
    virtual std::optional<DeviceFigures> device_figures() const { return std::nullopt; }
};

struct EngineOptions {
    std::string backend = "auto";  // auto, ref, cpu, cuda
    std::string isa = "auto";      // cpu: auto, amx, avx512vnni, avxvnni, avx2, generic
    // int8, or int4: matrices of layers from 4.5 bits a weight, embedding and lm_head int8 as ever.
    std::string weights = "int8";
    std::int32_t threads = 0;  // 0 = as many as can compute at once (common/base/machine.h)
    // Thread i computes on cpus[i], if there is one; thread 0 is who calls step(), and pins itself.
    std::vector<int> cpus = {};
};

// Packs the weights for the chosen backend (the checkpoint's int8 copy is released as it goes).
// kUnsupported names the backend or ISA that this machine or build lacks.
Result<std::unique_ptr<Engine>> make_engine(Checkpoint&& checkpoint, const EngineOptions& options);

}  // namespace hearth::engine
