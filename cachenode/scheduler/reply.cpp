// One sampled token at a time, until something ends the reply.
#include "cachenode/scheduler/reply.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace hearth {
namespace {

// Tokens that may not come (yet) are never sampled, rather than sampled and dropped.
engine::SamplingParams with_forbidden(const engine::Tokenizer& tokenizer, const TurnRequest& turn) {
    engine::SamplingParams params = turn.sampling;
    if (turn.grammar || (!turn.ignore_eos && turn.min_tokens <= 0)) return params;
    const engine::VocabularySpec& spec = tokenizer.spec();
    if (spec.eos >= 0) params.forbidden.push_back(spec.eos);
    params.forbidden.insert(params.forbidden.end(), spec.end_of_turn.begin(),
                            spec.end_of_turn.end());
    if (turn.ignore_eos) return params;
    params.forbidden.insert(params.forbidden.end(), turn.stop_token_ids.begin(),
                            turn.stop_token_ids.end());
    params.forbidden_tokens = static_cast<std::int32_t>(
        std::min<std::int64_t>(turn.min_tokens, std::numeric_limits<std::int32_t>::max()));
    return params;
}

}  // namespace

Reply::Reply(const engine::Tokenizer& tokenizer, const TurnRequest& turn)
    : tokenizer_(tokenizer),
      turn_(turn),
      sampler_(with_forbidden(tokenizer, turn), turn.prompt),
      detokenizer_(tokenizer),
      stops_(turn.stop) {
    if (turn.grammar) grammar_.emplace(turn.grammar->json);
}

bool Reply::ends(engine::TokenId id) const {
    const bool is_end = tokenizer_.ends_reply(id);
    if (is_end && (!turn_.ignore_eos || grammar_)) return true;
    const auto& ids = turn_.stop_token_ids;
    return tokens_ > turn_.min_tokens && std::find(ids.begin(), ids.end(), id) != ids.end();
}

Reply::Step Reply::sample(std::span<float> logits) {
    if (!grammar_) return take(sampler_.sample(logits));
    turn_.grammar->tokens->allow(*grammar_, allowed_);
    return take(sampler_.sample(logits, &allowed_));
}

Reply::Step Reply::replay(engine::TokenId id) {
    sampler_.accept(id);
    engine::Sampled sampled;
    sampled.id = id;
    return take(std::move(sampled));
}

// Nothing follows the end of the value. Tokens of another node that do not fit end the reply too.
void Reply::follow_grammar(Step& step) {
    if (!grammar_ || step.has_ended) return;
    const bool fits = grammar_->push_all(turn_.grammar->tokens->bytes(step.sampled.id));
    step.has_ended = !fits || grammar_->is_done();
    if (!fits) step.finish = FinishReason::kLength;
}

Reply::Step Reply::take(engine::Sampled sampled) {
    Step step;
    step.sampled = std::move(sampled);
    ++tokens_;
    const engine::TokenId id = step.sampled.id;
    step.is_fed = !ends(id);
    step.has_ended = !step.is_fed;
    follow_grammar(step);
    if (tokens_ >= turn_.max_tokens && !step.has_ended) {
        step.has_ended = true;
        step.finish = FinishReason::kLength;
    }
    std::string text = step.is_fed ? detokenizer_.add(id) : std::string();
    if (step.has_ended) text += detokenizer_.finish();
    if (tokens_ > turn_.min_tokens) {
        engine::StopMatcher::Step found = stops_.add(text);
        step.text = std::move(found.text);
        if (found.matched) {
            step.has_ended = true;
            step.finish = FinishReason::kStop;
        }
    } else {
        step.text = std::move(text);  // Too early for a stop string.
    }
    if (step.has_ended && !stops_.matched()) step.text += stops_.finish();
    text_ += step.text;
    return step;
}

}  // namespace hearth
