// Sampler: one token from one row of logits; greedy or seeded, the same on every machine.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/model/config.h"
#include "engine/text/logit_scans.h"
#include "engine/text/token_mask.h"

namespace hearth::engine {

// Ranges are checked at the API's door; see cachenode/api.
struct SamplingParams {
    float temperature = 1.0f;  // 0 = greedy.
    std::int32_t top_k = 0;    // 0 = off.
    float top_p = 1.0f;
    float min_p = 0.0f;
    float repetition_penalty = 1.0f;  // Keskar et al. 2019, over prompt and reply.
    float presence_penalty = 0.0f;    // OpenAI's, over the reply.
    float frequency_penalty = 0.0f;
    std::uint64_t seed = 0;
    std::vector<std::pair<TokenId, float>> logit_bias;
    std::vector<TokenId> forbidden;  // Never sampled (ignore_eos, min_tokens) ...
    std::int32_t forbidden_tokens =
        std::numeric_limits<std::int32_t>::max();  // ... among the first
                                                   // so many tokens of the reply (min_tokens).
    std::int32_t top_logprobs = -1;                // -1 = no logprobs; else how many alternatives.
};

struct TokenLogprob {
    TokenId id = -1;
    float logprob = 0.0f;
};

struct Sampled {
    TokenId id = -1;
    float logprob = 0.0f;           // Natural log, of the unmodified distribution; 0 if none
                                    // is asked for.
    std::vector<TokenLogprob> top;  // Best first, `top_logprobs` long.
};

// State of one sequence. The draw for the n-th reply token depends on (seed, n, logits) alone, so a
// reply that is resumed elsewhere continues the same way. Ties go to the lower id. One owner.
//
// The order is vLLM's: repetition, presence and frequency penalties, logit_bias, forbidden; then
// greedy takes the best, or temperature, min_p, top_k, top_p and the draw. Log-probabilities are of
// the logits as the model gave them. Ids outside the vocabulary are ignored.
class Sampler {
  public:
    Sampler(SamplingParams params, std::span<const TokenId> prompt);

    // `logits` has vocab_size entries and is used as scratch. NaN entries are never chosen.
    // Linear in vocab_size: the vocabulary is never sorted as a whole. `allowed` not null: one of
    // these, whatever their logits; not empty.
    Sampled sample(std::span<float> logits, const TokenMask* allowed = nullptr);
    // Counts a reply token that was not sampled here (a forced prefix).
    void accept(TokenId id);

  private:
    struct Candidate {
        TokenId id = -1;
        float logit = 0.0f;
        double weight = 0.0;  // exp((logit - best) / temperature)
    };

    void change_logits(std::span<float> logits);
    void forbid_all_but(const TokenMask* allowed, std::span<float> logits);
    void set_logit(std::span<float> logits, TokenId id, float value);
    float original_logit(std::span<const float> logits, TokenId id) const;
    bool is_forbidden(TokenId id) const;
    TokenId best(std::span<const float> logits) const;
    TokenId draw(std::span<const float> logits);
    void gather_candidates(std::span<const float> logits);
    void keep_top_k();
    void keep_top_p();

    SamplingParams params_;
    const TokenMask* allowed_ = nullptr;  // Of the step; null: all.
    std::uint64_t drawn_ = 0;             // Reply tokens so far, n of the next draw.
    std::unordered_map<TokenId, std::int32_t> reply_counts_;
    std::unordered_set<TokenId> seen_;                // Prompt and reply; for repetition_penalty.
    std::vector<std::pair<TokenId, float>> changed_;  // Logits before this step changed them.
    DrawWeights weights_;                             // Scratch of draw().
    std::vector<Candidate> candidates_;               // The same.
};

}  // namespace hearth::engine
