// Penalties, filters and the counter-based draw. All arithmetic that decides is in plain IEEE
// doubles.
#include "engine/text/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "common/base/check.h"
#include "common/base/rng.h"

namespace hearth::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// NaN is never chosen; infinity is cut, because inf - inf would be NaN.
float usable(float x) {
    return std::isnan(x) ? kNever : std::min(x, std::numeric_limits<float>::max());
}

// e^x for x <= 0, by x = k ln 2 + r and a Taylor series in r. The C library's exp may round
// differently on another machine (it picks FMA variants at run time); this never does.
double exp_same_everywhere(double x) {
    if (!(x > -700.0)) return 0.0;
    constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
    constexpr std::array<double, 14> kInverseFactorial = [] {
        std::array<double, 14> table{};
        double value = 1.0;
        for (std::size_t i = 0; i < table.size(); ++i) {
            if (i > 0) value /= static_cast<double>(i);
            table[i] = value;
        }
        return table;
    }();
    const auto k = static_cast<std::int64_t>(x * 1.4426950408889634 - 0.5);
    const double r = (x - static_cast<double>(k) * kLn2High) - static_cast<double>(k) * kLn2Low;
    double sum = kInverseFactorial.back();
    for (std::size_t i = kInverseFactorial.size() - 1; i > 0; --i) {
        sum = sum * r + kInverseFactorial[i - 1];
    }
    return sum * std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}

// Log of the sum of exp over all logits; NaN is already -inf here.
double log_sum_exp(std::span<const float> logits) {
    const float top = *std::max_element(logits.begin(), logits.end());
    if (top == kNever) return kNever;
    double sum = 0.0;
    for (const float x : logits) sum += exp_same_everywhere(double{x} - top);
    return top + std::log(sum);
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double log_sum,
                                       std::size_t count) {
    count = std::min(count, logits.size());
    std::vector<TokenLogprob> top;
    if (count == 0) return top;
    // A heap whose front is the worst kept; ids come in order, so equals that come later lose.
    const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
        return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
    };
    for (std::size_t id = 0; id < logits.size(); ++id) {
        const TokenLogprob entry{static_cast<TokenId>(id), logits[id]};
        if (top.size() == count) {
            if (!better(entry, top.front())) continue;
            std::pop_heap(top.begin(), top.end(), better);
            top.pop_back();
        }
        top.push_back(entry);
        std::push_heap(top.begin(), top.end(), better);
    }
    std::sort_heap(top.begin(), top.end(), better);
    for (TokenLogprob& entry : top) {
        entry.logprob = static_cast<float>(entry.logprob - log_sum);
    }
    return top;
}

}  // namespace

Sampler::Sampler(SamplingParams params, std::span<const TokenId> prompt)
    : params_(std::move(params)) {
    if (params_.repetition_penalty != 1.0f) seen_.insert(prompt.begin(), prompt.end());
}

void Sampler::accept(TokenId id) {
    ++drawn_;
    if (params_.repetition_penalty != 1.0f) seen_.insert(id);
    if (params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f) {
        ++reply_counts_[id];
    }
}

Sampled Sampler::sample(std::span<float> logits, const TokenMask* allowed) {
    CHECK(!logits.empty());
    make_usable(logits);
    Sampled sampled;
    const bool wants_logprobs = params_.top_logprobs >= 0;
    double log_sum = 0.0;
    if (wants_logprobs) {
        log_sum = log_sum_exp(logits);
        sampled.top = top_logprobs(logits, log_sum, static_cast<std::size_t>(params_.top_logprobs));
    }
    change_logits(logits);
    forbid_all_but(allowed, logits);
    sampled.id = params_.temperature > 0.0f ? draw(logits) : best(logits);
    if (wants_logprobs) {
        sampled.logprob = static_cast<float>(original_logit(logits, sampled.id) - log_sum);
    }
    accept(sampled.id);
    return sampled;
}

void Sampler::set_logit(std::span<float> logits, TokenId id, float value) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) return;
    float& logit = logits[static_cast<std::size_t>(id)];
    changed_.emplace_back(id, logit);
    logit = usable(value);
}

float Sampler::original_logit(std::span<const float> logits, TokenId id) const {
    for (const auto& [changed, before] : changed_) {
        if (changed == id) return before;  // The first change saw the model's own value.
    }
    return logits[static_cast<std::size_t>(id)];
}

void Sampler::change_logits(std::span<float> logits) {
    changed_.clear();
    const auto value = [&](TokenId id) {
        const bool known = id >= 0 && static_cast<std::size_t>(id) < logits.size();
        return known ? logits[static_cast<std::size_t>(id)] : kNever;
    };
    for (const TokenId id : seen_) {
        const float x = value(id);
        const float penalty = params_.repetition_penalty;
        set_logit(logits, id, x > 0.0f ? x / penalty : x * penalty);
    }
    for (const auto& [id, count] : reply_counts_) {
        set_logit(logits, id,
                  value(id) - params_.presence_penalty -
                      params_.frequency_penalty * static_cast<float>(count));
    }
    for (const auto& [id, bias] : params_.logit_bias) set_logit(logits, id, value(id) + bias);
    if (drawn_ >= static_cast<std::uint64_t>(std::max(params_.forbidden_tokens, 0))) return;
    for (const TokenId id : params_.forbidden) set_logit(logits, id, kNever);
}

void Sampler::forbid_all_but(const TokenMask* allowed, std::span<float> logits) {
    allowed_ = allowed;
    if (allowed == nullptr) return;
    for (std::size_t id = 0; id < logits.size(); ++id)
        if (!allowed->holds(static_cast<TokenId>(id))) logits[id] = kNever;
}

bool Sampler::is_forbidden(TokenId id) const {
    if (allowed_ != nullptr) return !allowed_->holds(id);
    return std::find(params_.forbidden.begin(), params_.forbidden.end(), id) !=
           params_.forbidden.end();
}

// If nothing may be chosen (a broken row of logits), the lowest id that is not forbidden.
TokenId Sampler::best(std::span<const float> logits) const {
    const std::size_t top = index_of_largest(logits);
    if (logits[top] != kNever) return static_cast<TokenId>(top);
    TokenId id = 0;
    while (is_forbidden(id) && static_cast<std::size_t>(id) + 1 < logits.size()) ++id;
    return id;
}

TokenId Sampler::draw(std::span<const float> logits) {
    const TokenId best_id = best(logits);
    const float top = logits[static_cast<std::size_t>(best_id)];
    if (top == kNever) return best_id;
    weights_.weigh(logits, top, params_.temperature, std::min(params_.min_p, 1.0f));
    const std::uint64_t bits = mix64(mix64(params_.seed) ^ mix64(~drawn_));
    const double share = static_cast<double>(bits >> 11) * 0x1.0p-53;
    if (params_.top_k <= 0 && params_.top_p >= 1.0f)
        return static_cast<TokenId>(weights_.at(share));
    gather_candidates(logits);
    keep_top_k();
    keep_top_p();
    double total = 0.0;
    for (const Candidate& c : candidates_) total += c.weight;
    double left = share * total;
    for (const Candidate& c : candidates_) {
        left -= c.weight;
        if (left < 0.0) return c.id;
    }
    return candidates_.back().id;  // Only rounding leads here.
}

// The best ones, in order of id: at least as many as top_k and top_p will keep. Nearly the whole
// vocabulary weighs next to nothing, so a high bar is tried before a lower one.
void Sampler::gather_candidates(std::span<const float> logits) {
    const auto k = static_cast<std::size_t>(std::max(params_.top_k, 0));
    const double wanted = weights_.total * std::max(params_.top_p, 0.0f);
    for (const float bar : {0x1p-8f, 0x1p-16f, 0x1p-32f, 0x1p-140f}) {
        candidates_.clear();
        double sum = 0.0;
        for (std::size_t b = 0; b < weights_.block.size(); ++b) {
            if (weights_.block[b] < bar) continue;
            const std::size_t end = std::min((b + 1) * DrawWeights::kBlock, logits.size());
            for (std::size_t id = b * DrawWeights::kBlock; id < end; ++id) {
                const float weight = weights_.of[id];
                if (weight < bar) continue;
                candidates_.push_back({static_cast<TokenId>(id), logits[id], weight});
                sum += weight;
            }
        }
        // With top_k, top_p is a share of what those k weigh.
        if (k > 0 ? candidates_.size() >= k : sum >= wanted) return;
    }
}

// Afterwards the candidates are those of the k highest logits, in order of id.
void Sampler::keep_top_k() {
    const auto k = static_cast<std::size_t>(std::max(params_.top_k, 0));
    if (k == 0 || k >= candidates_.size()) return;
    const auto better = [](const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(candidates_.begin(), last, candidates_.end(), better);
    candidates_.erase(last, candidates_.end());
    std::sort(candidates_.begin(), candidates_.end(),
              [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

// Keeps the fewest best candidates whose weights reach top_p of all. Sorts only the front that it
// needs, doubling it until it is enough.
void Sampler::keep_top_p() {
    if (params_.top_p >= 1.0f || candidates_.size() <= 1) return;
    const auto better = [](const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    double total = 0.0;
    for (const Candidate& c : candidates_) total += c.weight;
    if (params_.top_k <= 0) total = weights_.total;  // Of those that were not gathered, too.
    const double wanted = total * std::max(params_.top_p, 0.0f);
    double sum = 0.0;
    std::size_t kept = 0;
    for (std::size_t chunk = 64; kept < candidates_.size(); chunk *= 2) {
        const std::size_t end = std::min(candidates_.size(), kept + chunk);
        const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(kept);
        const auto to = candidates_.begin() + static_cast<std::ptrdiff_t>(end);
        std::nth_element(from, to, candidates_.end(), better);
        std::sort(from, to, better);
        while (kept < end) {
            sum += candidates_[kept++].weight;
            if (sum >= wanted) {
                candidates_.resize(kept);
                return;
            }
        }
    }
}

}  // namespace hearth::engine
