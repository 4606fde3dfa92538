// validate(): the limits and cross-field rules of a ModelConfig, whatever file or test it came
// from.
#include "engine/model/config.h"

#include <cmath>
#include <optional>
#include <string>

namespace hearth::engine {

namespace {

// Sums of int8 products stay exact in 32 bits up to 133,144 terms: 2^31 / 127^2.
constexpr std::int32_t kWidthMax = 131'072;
constexpr std::int32_t kVocabMax = 1'048'576;
constexpr std::int32_t kLayersMax = 512;
constexpr std::int32_t kHeadDimMax = 512;
constexpr std::int32_t kContextMax = 16'777'216;

// The first rule that does not hold; later ones are not looked at, as they may rest on it.
class Rules {
  public:
    void in_range(const char* field, std::int64_t value, std::int64_t max) {
        if (error_) return;
        if (value < 1) {
            error_ = make_error(
                ErrorCode::kInvalidArgument,
                std::string(field) + " is " + std::to_string(value) + ", must be at least 1");
        } else if (value > max) {
            error_ = make_error(ErrorCode::kTooLarge, std::string(field) + " is " +
                                                          std::to_string(value) +
                                                          ", the limit is " + std::to_string(max));
        }
    }
    void positive(const char* field, float value) {
        if (error_ || (std::isfinite(value) && value > 0.0f)) return;
        error_ = make_error(ErrorCode::kInvalidArgument,
                            std::string(field) + " must be a finite number above 0");
    }
    void zero_or_positive(const char* field, float value) {
        if (value != 0.0f) positive(field, value);
    }
    void require(bool holds, const std::string& what) {
        if (!error_ && !holds) error_ = make_error(ErrorCode::kInvalidArgument, what);
    }
    bool broken() const { return error_.has_value(); }
    Result<void> result() const { return error_ ? Result<void>(*error_) : Result<void>(); }

  private:
    std::optional<Error> error_;
};

void check_sizes(const ModelConfig& c, Rules& rules) {
    rules.in_range("vocab_size", c.vocab_size, kVocabMax);
    rules.in_range("hidden", c.hidden, kWidthMax);
    rules.in_range("ffn_hidden", c.ffn_hidden, kWidthMax);
    rules.in_range("heads", c.heads, kWidthMax);
    rules.in_range("kv_heads", c.kv_heads, kWidthMax);
    rules.in_range("head_dim", c.head_dim, kHeadDimMax);
    rules.in_range("heads * head_dim", static_cast<std::int64_t>(c.heads) * c.head_dim, kWidthMax);
    rules.in_range("context_length", c.context_length, kContextMax);
    rules.in_range("layers", static_cast<std::int64_t>(c.layers.size()), kLayersMax);
    rules.in_range("kv_banks", c.kv_banks, static_cast<std::int64_t>(c.layers.size()));
    if (rules.broken()) return;
    rules.require(c.heads % c.kv_heads == 0, "heads (" + std::to_string(c.heads) +
                                                 ") is no multiple of kv_heads (" +
                                                 std::to_string(c.kv_heads) + ")");
    rules.require(c.head_dim % 4 == 0,
                  "head_dim is " + std::to_string(c.head_dim) + ", must be a multiple of 4");
}

void check_rope(const ModelConfig& c, Rules& rules) {
    rules.positive("norm_eps", c.norm_eps);
    rules.positive("rope_theta", c.rope_theta);
    rules.in_range("rope_dim", c.rope_dim, c.head_dim);
    rules.require(c.rope_dim % 2 == 0, "rope_dim is odd");
    rules.positive("rope_scaling.factor", c.rope_scaling.factor);
    rules.positive("rope_scaling.low_freq_factor", c.rope_scaling.low_freq_factor);
    rules.positive("rope_scaling.high_freq_factor", c.rope_scaling.high_freq_factor);
    rules.in_range("rope_scaling.original_context", c.rope_scaling.original_context, kContextMax);
    rules.require(c.rope_scaling.factor == 1.0f ||
                      c.rope_scaling.high_freq_factor > c.rope_scaling.low_freq_factor,
                  "rope_scaling.high_freq_factor must be above low_freq_factor");
    const auto pairs = static_cast<std::size_t>(c.rope_dim / 2);
    rules.require(c.rope_freq_factors.empty() || c.rope_freq_factors.size() == pairs,
                  "rope_freq_factors has " + std::to_string(c.rope_freq_factors.size()) +
                      " entries, must have " + std::to_string(pairs));
    for (const float factor : c.rope_freq_factors) rules.positive("rope_freq_factors", factor);
}

void check_attention(const ModelConfig& c, Rules& rules) {
    rules.positive("rope_magnitude", c.rope_magnitude);
    rules.zero_or_positive("local_rope_theta", c.local_rope_theta);
    rules.zero_or_positive("attention_scale", c.attention_scale);
    rules.zero_or_positive("attention_softcap", c.attention_softcap);
    rules.zero_or_positive("logit_softcap", c.logit_softcap);
}

// Banks are numbered in the order in which layers write them, so "written before read" and "written
// once" are both: a writer's bank is the next new one, a reader's bank is an old one.
void check_layers(const ModelConfig& c, Rules& rules) {
    std::int32_t written = 0;
    for (std::size_t i = 0; i < c.layers.size(); ++i) {
        const LayerShape& layer = c.layers[i];
        const std::string name = "layers[" + std::to_string(i) + "]";
        rules.require(layer.window >= 0 && layer.window <= kContextMax,
                      name + ".window is out of range");
        rules.require(!layer.local_rope || c.local_rope_theta > 0.0f,
                      name + ".local_rope needs local_rope_theta");
        if (layer.writes_kv) {
            rules.require(layer.kv_bank == written,
                          name + ".kv_bank must be the next new bank, " + std::to_string(written));
            ++written;
        } else {
            rules.require(layer.kv_bank >= 0 && layer.kv_bank < written,
                          name + ".kv_bank is read before any layer writes it");
        }
    }
    rules.require(written == c.kv_banks, "kv_banks is " + std::to_string(c.kv_banks) + " but " +
                                             std::to_string(written) + " layers write one");
}

}  // namespace

Result<void> validate(const ModelConfig& config) {
    Rules rules;
    check_sizes(config, rules);
    if (!rules.broken()) check_rope(config, rules);
    if (!rules.broken()) check_attention(config, rules);
    if (!rules.broken()) check_layers(config, rules);
    return rules.result();
}

float ModelConfig::score_scale() const {
    if (attention_scale > 0.0f) return attention_scale;
    return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

}  // namespace hearth::engine
