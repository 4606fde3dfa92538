// PromptRenderer: template, tokenizer and the length checks around them.
#include "cachenode/api/prompt.h"

#include <algorithm>
#include <utility>

namespace hearth {

PromptRenderer::PromptRenderer(std::unique_ptr<engine::Tokenizer> tokenizer,
                               engine::ChatTemplate chat, std::int64_t context_length)
    : tokenizer_(std::move(tokenizer)),
      chat_template_(std::move(chat)),
      context_length_(context_length) {
    for (engine::TokenId id = 0; id < tokenizer_->size(); ++id)
        token_bytes_max_ = std::max(token_bytes_max_, tokenizer_->decode(id, true).size());
    auto trie = std::make_shared<const engine::TokenTrie>(*tokenizer_);
    if (trie->spells_all()) token_trie_ = std::move(trie);
}

Result<std::shared_ptr<const PromptRenderer>> PromptRenderer::make(
    const engine::Checkpoint& checkpoint, std::string_view template_name) {
    auto tokenizer = engine::Tokenizer::make(checkpoint.vocabulary);
    if (!tokenizer.ok()) return tokenizer.error();
    auto chat = engine::ChatTemplate::make(**tokenizer, checkpoint.chat_template, template_name);
    if (!chat.ok()) return chat.error();
    return std::shared_ptr<const PromptRenderer>(new PromptRenderer(
        std::move(*tokenizer), std::move(*chat), checkpoint.config.context_length));
}

Result<void> PromptRenderer::check_size(std::size_t bytes, std::size_t marks) const {
    const auto tokens_min = static_cast<std::int64_t>(bytes / token_bytes_max_ + marks);
    if (tokens_min < context_length_) return {};
    return make_error(ErrorCode::kTooLarge,
                      "The model's context holds " + std::to_string(context_length_) +
                          " tokens; the prompt has at least " + std::to_string(tokens_min) + ".");
}

Result<Prompt> PromptRenderer::checked(Prompt prompt) const {
    const auto size = static_cast<std::int64_t>(prompt.tokens.size());
    if (size < context_length_) return prompt;
    return make_error(ErrorCode::kTooLarge, "The model's context holds " +
                                                std::to_string(context_length_) +
                                                " tokens; the prompt has " + std::to_string(size) +
                                                " and leaves no room for a reply.");
}

namespace {

// Of all that the template is to render, its marks apart.
std::size_t bytes_of(const std::vector<engine::ChatMessage>& messages,
                     const engine::ChatTools& tools) {
    std::size_t bytes = 0;
    for (const std::string& function : tools.functions) bytes += function.size();
    for (const engine::ChatMessage& message : messages) {
        bytes += message.content.size();
        for (const engine::ToolCall& call : message.calls) bytes += call.arguments.size();
    }
    return bytes;
}

}  // namespace

Result<Prompt> PromptRenderer::render(const std::vector<engine::ChatMessage>& messages,
                                      const engine::ChatTools& tools) const {
    const std::size_t bytes = bytes_of(messages, tools);
    if (auto fits = check_size(bytes, messages.size()); !fits.ok()) return fits.error();
    Prompt prompt;
    chat_template_.render(messages, /*add_reply_prompt=*/true, prompt.tokens, tools);
    const auto last = std::find_if(messages.rbegin(), messages.rend(), [](const auto& message) {
        return message.role == engine::Role::kAssistant;
    });
    if (last != messages.rend()) {
        const std::vector<engine::ChatMessage> earlier(messages.begin(), last.base());
        std::vector<engine::TokenId> history;
        chat_template_.render(earlier, /*add_reply_prompt=*/false, history, tools);
        const auto differ = std::mismatch(history.begin(), history.end(), prompt.tokens.begin(),
                                          prompt.tokens.end());
        prompt.history_tokens = differ.first - history.begin();
    }
    return checked(std::move(prompt));
}

Result<Prompt> PromptRenderer::render_truncated(std::vector<engine::ChatMessage>& messages,
                                                std::int64_t budget, std::int64_t step,
                                                DroppedTurns& dropped,
                                                const engine::ChatTools& tools) const {
    constexpr std::int64_t kMarks = 8;  // That a template adds to a message, about.
    constexpr std::size_t kContextsMax = 16;
    const std::size_t bytes = bytes_of(messages, tools);
    // Work on the loop is bounded: nobody keeps a dialogue of so many contexts in one request.
    if (auto fits = check_size(bytes / kContextsMax, 0); !fits.ok()) return fits.error();
    if (check_size(bytes, messages.size()).ok()) {
        auto whole = render(messages, tools);
        if (whole.ok() && std::ssize(whole->tokens) <= budget) return whole;
    }
    std::vector<MessageSize> sizes;
    const auto tokens_of = [this](const std::string& text) {
        std::vector<engine::TokenId> ids;
        tokenizer_->encode(text, engine::Tokenizer::Special::kPlain, ids);
        return std::ssize(ids);
    };
    for (const engine::ChatMessage& message : messages) {
        sizes.push_back({message.role, tokens_of(message.content) + kMarks});
        for (const engine::ToolCall& call : message.calls)
            sizes.back().tokens += tokens_of(call.arguments) + 2 * kMarks;
    }
    // Tools never go, like the system text.
    std::int64_t planned = budget;
    for (const std::string& function : tools.functions) planned -= tokens_of(function);
    // Sizes are close, not exact: where the rest is still too long, a step more.
    constexpr std::int64_t kTries = 4;
    Result<Prompt> prompt = make_error(ErrorCode::kTooLarge, "");
    for (std::int64_t extra = 0; extra < kTries; ++extra) {
        dropped = plan_truncation(sizes, std::max<std::int64_t>(planned, 1), step, extra);
        std::vector<engine::ChatMessage> kept = messages;
        kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(dropped.first),
                   kept.begin() + static_cast<std::ptrdiff_t>(dropped.end));
        prompt = render(kept, tools);
        if (!prompt.ok() || std::ssize(prompt->tokens) > budget) continue;
        messages = std::move(kept);
        break;
    }
    return prompt;
}

Result<Prompt> PromptRenderer::render(const CompletionRequest& request) const {
    if (auto fits = check_size(request.text.size(), 0); !fits.ok()) return fits.error();
    Prompt prompt;
    if (request.is_tokens) {
        prompt.tokens = request.tokens;
    } else {
        const engine::VocabularySpec& spec = tokenizer_->spec();
        if (spec.add_bos && spec.bos >= 0) prompt.tokens.push_back(spec.bos);
        // The caller of this endpoint writes templates by hand, so marks are marks here.
        tokenizer_->encode(request.text, engine::Tokenizer::Special::kParse, prompt.tokens);
    }
    if (prompt.tokens.empty())
        return make_error(ErrorCode::kInvalidArgument, "'prompt' must not be empty.");
    return checked(std::move(prompt));
}

}  // namespace hearth
