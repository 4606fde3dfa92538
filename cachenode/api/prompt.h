// PromptRenderer: requests to prompt tokens, by the model's template and tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cachenode/api/chat_request.h"
#include "cachenode/api/truncation.h"
#include "common/base/result.h"
#include "engine/model/checkpoint.h"
#include "engine/text/chat_template.h"
#include "engine/text/token_trie.h"
#include "engine/text/tokenizer.h"

namespace hearth {

struct Prompt {
    std::vector<engine::TokenId> tokens;
    // Tokens up to the end of the last assistant message, its closing included: all that an earlier
    // turn of the session can have computed. 0 when there is no assistant message.
    std::int64_t history_tokens = 0;
};

// Immutable after make; any thread. Costs time linear in the text.
class PromptRenderer {
  public:
    // kUnsupported names the tokenizer rule or the option `chat_template`.
    static Result<std::shared_ptr<const PromptRenderer>> make(const engine::Checkpoint& checkpoint,
                                                              std::string_view template_name);

    // kTooLarge when the prompt leaves no room for a reply in the context.
    Result<Prompt> render(const std::vector<engine::ChatMessage>& messages,
                          const engine::ChatTools& tools = {}) const;
    Result<Prompt> render(const CompletionRequest& request) const;
    // The same as the first for a chat that fits into `budget` tokens; of a longer one the oldest
    // turns are taken out of `messages` by plan_truncation(), and `dropped` says which.
    Result<Prompt> render_truncated(std::vector<engine::ChatMessage>& messages, std::int64_t budget,
                                    std::int64_t step, DroppedTurns& dropped,
                                    const engine::ChatTools& tools = {}) const;

    const engine::Tokenizer& tokenizer() const { return *tokenizer_; }
    const engine::ChatTemplate& chat_template() const { return chat_template_; }
    std::int64_t context_length() const { return context_length_; }
    // For replies that are bound to a grammar; null if the vocabulary cannot spell every text.
    const std::shared_ptr<const engine::TokenTrie>& token_trie() const { return token_trie_; }

  private:
    PromptRenderer(std::unique_ptr<engine::Tokenizer> tokenizer, engine::ChatTemplate chat,
                   std::int64_t context_length);
    // Refuses, before any work, text that cannot fit however it is cut into tokens. `marks`: tokens
    // that the template adds at least, one for each message.
    Result<void> check_size(std::size_t bytes, std::size_t marks) const;
    Result<Prompt> checked(Prompt prompt) const;

    std::unique_ptr<engine::Tokenizer> tokenizer_;
    engine::ChatTemplate chat_template_;
    std::int64_t context_length_;
    std::size_t token_bytes_max_ = 1;
    std::shared_ptr<const engine::TokenTrie> token_trie_;
};

}  // namespace hearth
