// Responses: OpenAI's shapes for answers, stream chunks, usage and the model list, as bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/answer_writer.h"

namespace hearth {

enum class Endpoint { kChat, kCompletion, kResponse };

// The same in every chunk of one answer.
struct ReplyHead {
    Endpoint endpoint = Endpoint::kChat;
    std::string id;            // "chatcmpl-..." or "cmpl-..."
    std::int64_t created = 0;  // Unix seconds.
    std::string model;
    std::string fingerprint;     // system_fingerprint; names the weights.
    bool logprobs = false;       // The request asked for them.
    bool include_usage = false;  // The stream ends with a usage chunk.
    std::size_t choices = 1;     // Replies in this answer.
};

// Chats and completions: SSE events ("data: ...\n\n"), or whole. The tokenizer outlives it.
class ReplyWriter final : public AnswerWriter {
  public:
    ReplyWriter(ReplyHead head, const engine::Tokenizer& tokenizer)
        : head_(std::move(head)), tokenizer_(tokenizer), text_offsets_(head_.choices) {}

    const ReplyHead& head() const { return head_; }

    void skip(std::span<const engine::TokenId> tokens) override;

    // `choice` < head.choices everywhere.
    std::string first_chunks() override;  // Chat: the roles. Completions have none: "".
    std::string chunk(std::string_view text, std::span<const engine::Sampled> logprobs,
                      std::size_t choice = 0) override;
    std::string call_chunk(const MadeCall& call, std::size_t index, std::size_t choice) override;
    std::string finish_chunk(FinishReason finish, std::size_t choice = 0) override;
    std::string end(const TurnUsage& usage) override;  // The usage chunk if wanted, and [DONE].
    std::string failure(const ApiError& error) override;

    std::string whole(std::span<const Choice> choices, const TurnUsage& usage) override;

  private:
    ReplyHead head_;
    const engine::Tokenizer& tokenizer_;
    // Characters of each choice so far; completions' logprobs want them.
    std::vector<std::int64_t> text_offsets_;
};

// An error in mid-stream, as the official clients understand it; no [DONE] follows.
std::string error_event(const ApiError& error);

struct ServedModel {
    std::string name;
    std::int64_t created = 0;  // Unix seconds; when this node loaded it.
    std::int64_t context_length = 0;
};
std::string model_object(const ServedModel& model);
std::string model_list(const ServedModel& model);

// The answer of /detokenize and /apply-template: {"prompt"}; `keep_special` shows the template's
// marks.
std::string text_answer(const engine::Tokenizer& tokenizer,
                        std::span<const engine::TokenId> tokens);
std::string version_answer();  // {"version","revision"}

// What /props tells besides the model's own fields.
struct NodeProperties {
    std::string node_id, fingerprint, chat_template;
    std::int64_t vocab_size = 0, kv_tokens_max = 0;
};
std::string properties_answer(const ServedModel& model, const NodeProperties& node);

// The answer of /tokenize: {"count","max_model_len","tokens"}.
std::string token_list(std::span<const engine::TokenId> tokens, std::int64_t context_length);

}  // namespace hearth
