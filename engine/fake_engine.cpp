// The fake engine: KV pages that hold rolling hashes instead of keys and values.
#include "engine/fake_engine.h"

#include <cstring>
#include <utility>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

// A slot is 8 bytes; a head's block has at least 16 bytes per token, so all slots fit at its front.
constexpr std::size_t kSlotBytes = sizeof(std::uint64_t);

class FakeEngine final : public Engine {
  public:
    explicit FakeEngine(ModelConfig config)
        : config_(std::move(config)), kv_(KvLayout::of(config_)) {}

    const ModelConfig& config() const override { return config_; }
    const KvLayout& kv_layout() const override { return kv_; }
    std::string backend_name() const override { return "fake"; }

    void step(std::span<const Slice> batch, std::span<float> logits) override {
        auto row = logits.begin();
        for (const Slice& slice : batch) {
            const auto count = static_cast<std::int32_t>(slice.tokens.size());
            CHECK(slice.start >= 0 && slice.start + count <= config_.context_length);
            CHECK(static_cast<std::size_t>(slice.start + count + kPageTokens - 1) / kPageTokens <=
                  slice.pages.size());
            std::uint64_t history = 0;  // Of every slot so far, as the pages hold them.
            for (std::int32_t p = 0; p < slice.start; ++p) history = add(history, slice, p);
            for (std::int32_t i = 0; i < count; ++i) {
                write(slice, slice.start + i, slice.tokens[static_cast<std::size_t>(i)]);
                history = add(history, slice, slice.start + i);
                const bool wanted = slice.logits == Slice::Logits::kAll ||
                                    (slice.logits == Slice::Logits::kLast && i + 1 == count);
                if (!wanted) continue;
                CHECK(logits.end() - row >= config_.vocab_size);
                for (std::int32_t v = 0; v < config_.vocab_size; ++v)
                    *row++ = logit(history, static_cast<std::uint64_t>(v));
            }
        }
    }

  private:
    std::byte* slot(const Slice& slice, std::int32_t position, std::size_t block) const {
        std::byte* page = slice.pages[static_cast<std::size_t>(position / kPageTokens)];
        return page + block * kv_.head_bytes() +
               static_cast<std::size_t>(position % kPageTokens) * kSlotBytes;
    }
    std::size_t blocks() const { return kv_.page_bytes() / kv_.head_bytes(); }

    static std::uint64_t read(const std::byte* at) {
        std::uint64_t value;
        std::memcpy(&value, at, sizeof value);
        return value;
    }

    void write(const Slice& slice, std::int32_t position, TokenId token) const {
        CHECK(token >= 0 && token < config_.vocab_size);
        const std::uint64_t before = position == 0 ? 1 : read(slot(slice, position - 1, 0));
        const std::uint64_t own = mix64(before * 3 + static_cast<std::uint64_t>(token));
        for (std::size_t block = 0; block < blocks(); ++block) {
            const std::uint64_t value = own ^ mix64(block) ^ mix64(0);  // Block 0 holds `own`.
            std::memcpy(slot(slice, position, block), &value, sizeof value);
        }
    }

    std::uint64_t add(std::uint64_t history, const Slice& slice, std::int32_t position) const {
        for (std::size_t block = 0; block < blocks(); ++block)
            history = mix64(history ^ read(slot(slice, position, block)));
        return history;
    }

    static float logit(std::uint64_t history, std::uint64_t token) {
        const std::uint64_t bits = mix64(history + token * 0x9e3779b97f4a7c15ULL) >> 40;
        return static_cast<float>(bits) * (16.0f / 16777216.0f) - 8.0f;
    }

    ModelConfig config_;
    KvLayout kv_;
};

}  // namespace

std::unique_ptr<Engine> make_fake_engine(ModelConfig config) {
    return std::make_unique<FakeEngine>(std::move(config));
}

}  // namespace hearth::engine
