// The model fingerprint over XXH3, and the order in which config and vocabulary enter it.
#include "engine/formats/fingerprint.h"

#include <xxhash.h>

#include <bit>

#include "common/base/check.h"

namespace hearth::engine {

namespace {

// Part of every fingerprint. Raise it when loading changes the numbers that come out of the same
// file (another rounding, another default), or when a step adds in another order, so that KV stored
// by an older build is not reused.
constexpr std::uint64_t kLoaderVersion = 3;

}  // namespace

void Fingerprint::Free::operator()(XXH3_state_s* state) const {
    XXH3_freeState(state);
}

Fingerprint::Fingerprint() : state_(XXH3_createState()) {
    CHECK(state_ != nullptr);
    CHECK(XXH3_64bits_reset_withSeed(state_.get(), kLoaderVersion) == XXH_OK);
}

void Fingerprint::add(std::span<const std::byte> bytes) {
    add_word(bytes.size());
    CHECK(XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()) == XXH_OK);
}

void Fingerprint::add(float value) {
    add_word(std::bit_cast<std::uint32_t>(value));
}

void Fingerprint::add_word(std::uint64_t word) {
    CHECK(XXH3_64bits_update(state_.get(), &word, sizeof word) == XXH_OK);
}

std::uint64_t Fingerprint::value() const {
    return XXH3_64bits_digest(state_.get());
}

void add_to(Fingerprint& f, const ModelConfig& c) {
    for (const std::int32_t field : {c.vocab_size, c.hidden, c.ffn_hidden, c.heads, c.kv_heads,
                                     c.head_dim, c.context_length, c.kv_banks, c.rope_dim})
        f.add(field);
    f.add(c.norm_eps);
    f.add(c.rope_theta);
    f.add(static_cast<std::uint32_t>(c.rope_style));
    f.add(c.rope_scaling.factor);
    f.add(c.rope_scaling.low_freq_factor);
    f.add(c.rope_scaling.high_freq_factor);
    f.add(c.rope_scaling.original_context);
    f.add(c.rope_freq_factors.size());
    for (const float factor : c.rope_freq_factors) f.add(factor);
    f.add(c.tied_embeddings);
    f.add(c.rope_magnitude);
    f.add(c.local_rope_theta);
    f.add(c.qkv_bias);
    f.add(c.qk_norm);
    f.add(c.post_norms);
    f.add(static_cast<std::uint32_t>(c.activation));
    f.add(c.attention_scale);
    f.add(c.attention_softcap);
    f.add(c.logit_softcap);
    f.add(c.layers.size());
    for (const LayerShape& layer : c.layers) {
        f.add(layer.kv_bank);
        f.add(layer.writes_kv);
        f.add(layer.window);
        f.add(layer.local_rope);
    }
}

void add_to(Fingerprint& f, const VocabularySpec& v) {
    f.add(static_cast<std::uint32_t>(v.kind));
    f.add(std::string_view(v.pre_tokenizer));
    f.add(std::string_view(v.pre_tokenizer_regex));
    f.add(v.ignore_merges);
    f.add(v.nfc);
    f.add(v.split_digits);
    f.add(v.tokens.size());
    for (const std::string& token : v.tokens) f.add(std::string_view(token));
    for (const TokenType type : v.types) f.add(static_cast<std::uint32_t>(type));
    f.add(v.scores.size());
    for (const float score : v.scores) f.add(score);
    f.add(v.merges.size());
    for (const auto& [left, right] : v.merges) {
        f.add(std::string_view(left));
        f.add(std::string_view(right));
    }
    f.add(v.bos);
    f.add(v.eos);
    f.add(v.unknown);
    f.add(v.end_of_turn.size());
    for (const TokenId id : v.end_of_turn) f.add(id);
    f.add(v.add_bos);
    f.add(v.add_space_prefix);
}

}  // namespace hearth::engine
