// ChatTemplate: messages to token ids, for the template families that Hearth knows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "engine/text/tokenizer.h"
#include "engine/text/tool_format.h"

namespace hearth::engine {

enum class Role { kSystem, kUser, kAssistant, kTool };

struct ChatMessage {
    Role role = Role::kUser;
    std::string content;
    std::vector<ToolCall> calls = {};  // Of an assistant.
};

enum class TemplateKind {
    kChatMl,
    kLlama2,
    kLlama3,
    kMistral,
    kGemma,
    kPhi3,
    kZephyr,
    kPlain,
};

// "chatml", "llama2", "llama3", "mistral", "gemma", "phi3", "zephyr", "plain".
const char* to_string(TemplateKind kind);
Result<TemplateKind> template_kind_from(std::string_view name);

// Immutable; any thread. Message text is always encoded as plain text: a user cannot inject control
// tokens. The ids of a message do not depend on later messages, so a longer dialogue extends a
// shorter one token for token: marks and message texts are encoded apart, and nothing merges across
// a joint. A system message may stand anywhere, except that Llama 2, Mistral and Gemma have no
// place for one after the start: there it is rendered as a user's turn.
class ChatTemplate {
  public:
    // `text` is the model's own template, recognised by its marks; `override_name` (config
    // chat_template) wins when not empty. An unknown template is kUnsupported and names the option
    // `chat_template` and its values. An empty text without override gives plain.
    static Result<ChatTemplate> make(const Tokenizer& tokenizer, std::string_view text,
                                     std::string_view override_name);

    // Appends the ids of the dialogue, BOS where the model wants it; with `add_reply_prompt` also
    // the mark after which the assistant's reply begins.
    // `tools` stand at the start, with the system text. Calls, tools and tool messages are for
    // templates with a tool_format().
    void render(const std::vector<ChatMessage>& messages, bool add_reply_prompt,
                std::vector<TokenId>& out, const ChatTools& tools = {}) const;

    // Appends what follows the reply prompt when `text` is the assistant's whole reply: its ids,
    // trimmed as the template does, and the closing of the turn. So render(m, true) and then
    // render_reply(t) is render(m + {assistant, t}, false).
    void render_reply(std::string_view text, std::vector<TokenId>& out) const {
        render_reply({Role::kAssistant, std::string(text)}, out);
    }
    // The same of a reply with calls; `opens_call` as it was in the prompt's ChatTools.
    void render_reply(const ChatMessage& reply, std::vector<TokenId>& out,
                      bool opens_call = false) const;

    TemplateKind kind() const { return kind_; }
    ToolFormat tool_format() const { return tool_format_; }  // kNone: it has no tools.
    // Texts that end a reply besides the tokenizer's own end tokens (plain: "\nUser:").
    const std::vector<std::string>& stop_strings() const { return stop_strings_; }

  private:
    class Writer;

    ChatTemplate(const Tokenizer& tokenizer, TemplateKind kind)
        : tokenizer_(&tokenizer), kind_(kind) {}

    std::string_view trimmed(std::string_view content) const;
    void begin(const std::vector<ChatMessage>& messages, Writer& writer,
               const ChatTools& tools) const;
    std::string tool_page(const ChatTools& tools) const;
    void system_with_tools(std::string_view content, Writer& writer, const ChatTools& tools) const;
    void tool_result(const ChatMessage& message, Writer& writer) const;
    void end_results(Writer& writer) const;
    void calls(const ChatMessage& message, Writer& writer, bool opened) const;
    void turn(const ChatMessage& message, Writer& writer) const;
    void llama2_turn(const ChatMessage& message, Writer& writer) const;
    void bracket_text(std::string_view content, Writer& writer) const;
    void folded_turn(const ChatMessage& message, Writer& writer) const;
    void close_user(Writer& writer) const;
    std::string_view without_thought(std::string_view text) const;
    void reply_prompt(Writer& writer) const;
    void reply(std::string_view text, Writer& writer) const;

    const Tokenizer* tokenizer_;
    TemplateKind kind_;
    ToolFormat tool_format_ = ToolFormat::kNone;
    ToolTexts tool_texts_;
    bool trims_ = false;                  // Message text loses the white space around it.
    bool trims_front_ = false;            // Only that before it.
    bool strips_thought_ = false;         // Of a reply only what follows </think> is rendered.
    bool reply_follows_control_ = false;  // Phi-3, Mistral: a word there begins with U+2581.
    bool brackets_are_tokens_ = false;    // Mistral: [INST] is a control token.
    std::string default_system_;  // What the model's template puts where no system message is.
    std::string
        system_preamble_;  // What it puts in front of every system text (Llama 3.1's dates).
    std::vector<std::string> stop_strings_;
};

}  // namespace hearth::engine
