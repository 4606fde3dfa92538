// The template families, segment by segment.
#include "engine/text/chat_template.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace hearth::engine {
namespace {

constexpr std::string_view kQwen = "qwen";  // ChatML with tools.
constexpr std::array<std::pair<TemplateKind, const char*>, 9> kNames = {{
    {TemplateKind::kChatMl, "chatml"},
    {TemplateKind::kChatMl, kQwen.data()},
    {TemplateKind::kLlama2, "llama2"},
    {TemplateKind::kLlama3, "llama3"},
    {TemplateKind::kMistral, "mistral"},
    {TemplateKind::kGemma, "gemma"},
    {TemplateKind::kPhi3, "phi3"},
    {TemplateKind::kZephyr, "zephyr"},
    {TemplateKind::kPlain, "plain"},
}};

constexpr std::string_view kBlank = " \t\n\v\f\r";

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

Error unknown_template(const std::string& what) {
    std::string message = what + "; set chat_template to one of";
    for (const auto& [kind, name] : kNames) message += std::string(" ") + name;
    return make_error(ErrorCode::kUnsupported, std::move(message));
}

bool has(std::string_view text, std::string_view mark) {
    return text.find(mark) != text.npos;
}

std::optional<TemplateKind> recognise(std::string_view text) {
    if (has(text, "<|im_sep|>")) return std::nullopt;  // Phi-4 has ChatML's marks, used otherwise.
    if (has(text, "<|im_start|>")) return TemplateKind::kChatMl;
    if (has(text, "<|start_header_id|>")) return TemplateKind::kLlama3;
    if (has(text, "<start_of_turn>")) return TemplateKind::kGemma;
    if (has(text, "[INST]"))
        return has(text, "<<SYS>>") ? TemplateKind::kLlama2 : TemplateKind::kMistral;
    // Phi's template has Zephyr's role marks but closes turns with <|end|>.
    if (has(text, "<|user|>") && has(text, "<|assistant|>"))
        return has(text, "<|end|>") ? TemplateKind::kPhi3 : TemplateKind::kZephyr;
    return std::nullopt;
}

// Does the template pipe message content through Jinja's trim filter?
bool trims_content(std::string_view text) {
    std::string squeezed;
    for (const char c : text) {
        if (!has(" '\"]", std::string_view(&c, 1))) squeezed.push_back(c);
    }
    return has(squeezed, "content|trim");
}

// The system text that a ChatML template states in full: a string literal of the template holds
// <|im_start|>system, a line end, the text and <|im_end|>. Line ends may be escaped.
std::string default_chatml_system(std::string_view text) {
    constexpr std::string_view kOpen = "<|im_start|>system";
    constexpr std::string_view kClose = "<|im_end|>";
    for (auto at = text.find(kOpen); at != text.npos; at = text.find(kOpen, at + 1)) {
        std::string_view rest = text.substr(at + kOpen.size());
        const char quote = at > 0 ? text[at - 1] : '\0';
        if (quote != '\'' && quote != '"') continue;
        if (rest.starts_with("\n")) {
            rest.remove_prefix(1);
        } else if (rest.starts_with("\\n")) {
            rest.remove_prefix(2);
        } else {
            continue;
        }
        std::string system;
        while (!rest.empty() && rest[0] != quote && !rest.starts_with(kClose)) {
            const bool escape = rest[0] == '\\' && rest.size() > 1;
            const char c = escape ? rest[1] : rest[0];
            system.push_back(escape && c == 'n' ? '\n' : c);
            rest.remove_prefix(escape ? 2 : 1);
        }
        if (rest.starts_with(kClose) && !system.empty()) return system;
    }
    return {};
}

const char* role_name(Role role) {
    switch (role) {
        case Role::kSystem: return "system";
        case Role::kUser: return "user";
        case Role::kAssistant: return "assistant";
        case Role::kTool: return "tool";
    }
    return "";
}

}  // namespace

const char* to_string(TemplateKind kind) {
    for (const auto& [known, name] : kNames) {
        if (known == kind) return name;
    }
    return "";
}

Result<TemplateKind> template_kind_from(std::string_view name) {
    for (const auto& [kind, known] : kNames) {
        if (known == name) return kind;
    }
    return unknown_template("no chat template is called \"" + std::string(name) + "\"");
}

// Appends marks and texts, and knows whether the last id was a special token: SentencePiece puts
// its leading space only there, as its reference does when it encodes the whole dialogue at once.
class ChatTemplate::Writer {
  public:
    Writer(const Tokenizer& tokenizer, std::vector<TokenId>& out, bool after_special)
        : tokenizer_(tokenizer), out_(out), after_special_(after_special) {}

    void bos() {
        if (tokenizer_.spec().bos < 0) return;
        out_.push_back(tokenizer_.spec().bos);
        after_special_ = true;
    }
    void eos() {
        if (tokenizer_.spec().eos < 0) return;
        out_.push_back(tokenizer_.spec().eos);
        after_special_ = true;
    }
    // The template's own text: names of control tokens in it become those tokens.
    void mark(std::string_view text) { append(text, Tokenizer::Special::kParse); }
    // A message's text.
    void text(std::string_view text) { append(text, Tokenizer::Special::kPlain); }

    // The same behind one space, which belongs to the first word; nothing for no text.
    void spaced_text(std::string_view text) {
        if (!text.empty()) append(std::string(" ").append(text), Tokenizer::Special::kPlain);
    }
    // What follows goes on in text, or follows a control token, whatever came last.
    void continue_text() { after_special_ = false; }
    void follow_control() { after_special_ = true; }

    bool first = true;        // No message is rendered yet.
    bool open = false;        // A system text has opened a user's turn.
    bool in_results = false;  // What tools gave is being listed in a user's turn.

  private:
    void append(std::string_view text, Tokenizer::Special special) {
        if (text.empty()) return;
        if (after_special_) {
            tokenizer_.encode(text, special, out_);
        } else {
            tokenizer_.encode_continuation(text, special, out_);
        }
        if (out_.empty()) return;
        const TokenType type = tokenizer_.spec().types[static_cast<std::size_t>(out_.back())];
        after_special_ = type == TokenType::kControl || type == TokenType::kUserDefined;
    }

    const Tokenizer& tokenizer_;
    std::vector<TokenId>& out_;
    bool after_special_;
};

Result<ChatTemplate> ChatTemplate::make(const Tokenizer& tokenizer, std::string_view text,
                                        std::string_view override_name) {
    TemplateKind kind = TemplateKind::kPlain;
    if (!override_name.empty()) {
        const auto named = template_kind_from(override_name);
        if (!named) return named.error();
        kind = *named;
    } else if (!text.empty()) {
        const auto known = recognise(text);
        if (!known) return unknown_template("the model's own chat template is of no known family");
        kind = *known;
    }
    ChatTemplate made(tokenizer, kind);
    made.trims_ = true;
    if (kind == TemplateKind::kChatMl || kind == TemplateKind::kZephyr) {
        made.trims_ = trims_content(text);
    }
    if (kind == TemplateKind::kPhi3) made.trims_ = !(made.trims_front_ = true);
    made.strips_thought_ = kind == TemplateKind::kChatMl && has(text, "</think>");
    const auto is_control = [&](std::string_view token) {
        const TokenId id = tokenizer.find(token);
        return id >= 0 &&
               tokenizer.spec().types[static_cast<std::size_t>(id)] == TokenType::kControl;
    };
    made.brackets_are_tokens_ = is_control("[INST]");
    made.reply_follows_control_ = (kind == TemplateKind::kPhi3 && is_control("<|assistant|>")) ||
                                  (kind == TemplateKind::kMistral && is_control("[/INST]"));
    if (kind == TemplateKind::kChatMl) made.default_system_ = default_chatml_system(text);
    if (kind == TemplateKind::kLlama3 && has(text, "Cutting Knowledge Date: December 2023")) {
        // Llama 3.1's template also states the day; a day that moves would undo every cached
        // prefix at midnight, so this is the constant that the template itself falls back to.
        made.system_preamble_ =
            "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
    }
    if (kind == TemplateKind::kPlain) made.stop_strings_ = {"\nUser:"};
    ToolFormat family = ToolFormat::kNone;
    if (kind == TemplateKind::kLlama3) family = ToolFormat::kLlama3;
    if (kind == TemplateKind::kMistral) family = ToolFormat::kMistral;
    const bool is_qwen = override_name == kQwen;
    if (kind == TemplateKind::kChatMl && (is_qwen || !text.empty())) family = ToolFormat::kTagged;
    made.tool_format_ = tool_format_of(family, text, made.tool_texts_);
    // Who names a family that has tools gets them, whatever the model's own template knows.
    if (made.tool_format_ == ToolFormat::kNone && !override_name.empty() &&
        (is_qwen || kind != TemplateKind::kChatMl))
        made.tool_format_ = tool_format_of(family, {}, made.tool_texts_);
    return made;
}

std::string_view ChatTemplate::trimmed(std::string_view content) const {
    if (trims_) return trim(content);
    const std::size_t first = trims_front_ ? content.find_first_not_of(kBlank) : 0;
    return first == content.npos ? std::string_view() : content.substr(first);
}

void ChatTemplate::render(const std::vector<ChatMessage>& messages, bool add_reply_prompt,
                          std::vector<TokenId>& out, const ChatTools& tools) const {
    Writer writer(*tokenizer_, out, true);
    begin(messages, writer, tools);
    const bool has_tools = !tools.functions.empty() && tool_format_ != ToolFormat::kMistral;
    for (const ChatMessage& message : messages) {
        if (has_tools && writer.first && message.role == Role::kSystem) {
            system_with_tools(message.content, writer, tools);
        } else {
            turn(message, writer);
        }
        writer.first = false;
    }
    end_results(writer);
    if (!add_reply_prompt) return;
    reply_prompt(writer);
    if (tools.opens_call && tool_format_ == ToolFormat::kMistral) writer.mark("[TOOL_CALLS]");
}

void ChatTemplate::render_reply(const ChatMessage& message, std::vector<TokenId>& out,
                                bool opens_call) const {
    Writer writer(*tokenizer_, out, false);
    if (!message.calls.empty()) return calls(message, writer, opens_call);
    reply(message.content, writer);
}

void ChatTemplate::begin(const std::vector<ChatMessage>& messages, Writer& writer,
                         const ChatTools& tools) const {
    // Llama 2 begins every user's turn with BOS itself.
    if (tokenizer_->spec().add_bos && kind_ != TemplateKind::kLlama2) writer.bos();
    const bool has_system = !messages.empty() && messages.front().role == Role::kSystem;
    const bool has_tools = !tools.functions.empty() && tool_format_ != ToolFormat::kNone;
    if (has_tools && tool_format_ == ToolFormat::kMistral) {
        writer.mark("[AVAILABLE_TOOLS]");
        bracket_text(tool_page(tools), writer);
        writer.mark("[/AVAILABLE_TOOLS]");
        return;
    }
    if (has_system || messages.empty()) return;
    if (has_tools) {
        system_with_tools(default_system_, writer, tools);
    } else if (!default_system_.empty() || !system_preamble_.empty()) {
        turn({Role::kSystem, default_system_}, writer);
    } else {
        return;
    }
    writer.first = false;
}

void ChatTemplate::turn(const ChatMessage& message, Writer& writer) const {
    if (message.role == Role::kTool && tool_format_ != ToolFormat::kNone)
        return tool_result(message, writer);
    end_results(writer);
    if (!message.calls.empty() && tool_format_ != ToolFormat::kNone) {
        reply_prompt(writer);
        return calls(message, writer, false);
    }
    if (kind_ == TemplateKind::kLlama2) return llama2_turn(message, writer);
    if (kind_ == TemplateKind::kMistral || kind_ == TemplateKind::kGemma)
        return folded_turn(message, writer);
    if (message.role == Role::kAssistant) {
        reply_prompt(writer);
        reply(message.content, writer);
        return;
    }
    const std::string_view content = trimmed(message.content);
    const std::string role = role_name(message.role);
    switch (kind_) {
        case TemplateKind::kChatMl:
            writer.mark("<|im_start|>" + role + "\n");
            writer.text(content);
            writer.mark("<|im_end|>\n");
            break;
        case TemplateKind::kLlama3:
            writer.mark("<|start_header_id|>" + role + "<|end_header_id|>\n\n");
            if (writer.first) writer.mark(system_preamble_);  // The first is always system then.
            writer.text(content);
            writer.mark("<|eot_id|>");
            break;
        case TemplateKind::kPhi3:  // The line end after a mark is taken off by its tokenizer.
            writer.mark("<|" + role + "|>");
            writer.text(content);
            writer.mark("<|end|>");
            break;
        case TemplateKind::kZephyr:
            writer.mark("<|" + role + "|>\n");
            writer.text(content);
            writer.eos();
            writer.mark("\n");
            break;
        case TemplateKind::kPlain:
            if (message.role == Role::kUser) {
                writer.mark("User:");
                writer.spaced_text(content);
            } else {
                writer.text(content);
            }
            writer.mark("\n");
            break;
        case TemplateKind::kLlama2:
        case TemplateKind::kMistral:
        case TemplateKind::kGemma: break;
    }
}

std::string ChatTemplate::tool_page(const ChatTools& tools) const {
    std::string page = tool_texts_.front;
    for (std::size_t i = 0; i < tools.functions.size(); ++i)
        page += (i > 0 ? tool_texts_.between : std::string()) + tools.functions[i];
    return page + tool_texts_.back;
}

void ChatTemplate::system_with_tools(std::string_view content, Writer& writer,
                                     const ChatTools& tools) const {
    std::string text(trimmed(content));
    if (kind_ == TemplateKind::kLlama3) {
        writer.mark("<|start_header_id|>system<|end_header_id|>\n\n");
        writer.mark(tool_texts_.system_front + system_preamble_);
        writer.text(tool_page(tools) + text);
        return writer.mark("<|eot_id|>");
    }
    if (!text.empty()) text += "\n\n";
    writer.mark("<|im_start|>system\n");
    writer.text(text + tool_page(tools));
    writer.mark("<|im_end|>\n");
}

// Results that follow each other share a user's turn in ChatML; the next message closes it.
void ChatTemplate::tool_result(const ChatMessage& message, Writer& writer) const {
    if (tool_format_ == ToolFormat::kTagged) {
        writer.mark(writer.in_results ? "\n" : "<|im_start|>user\n");
        writer.in_results = true;
        writer.mark("<tool_response>\n");
        writer.text(message.content);
        return writer.mark("\n</tool_response>");
    }
    if (tool_format_ == ToolFormat::kLlama3) {
        writer.mark("<|start_header_id|>ipython<|end_header_id|>\n\n");
        writer.text(message.content);
        return writer.mark("<|eot_id|>");
    }
    if (writer.open) close_user(writer);
    writer.mark("[TOOL_RESULTS]");
    bracket_text("{\"content\": " + json_quoted(message.content) + "}", writer);
    writer.mark("[/TOOL_RESULTS]");
}

void ChatTemplate::end_results(Writer& writer) const {
    if (std::exchange(writer.in_results, false)) writer.mark("<|im_end|>\n");
}

// Behind the reply prompt, and what ends the reply.
void ChatTemplate::calls(const ChatMessage& message, Writer& writer, bool opened) const {
    if (tool_format_ != ToolFormat::kMistral)
        return reply(spell_reply(tool_format_, trimmed(message.content), message.calls), writer);
    if (!message.content.empty()) bracket_text(message.content, writer);
    if (!opened) writer.mark("[TOOL_CALLS]");
    if (opened && brackets_are_tokens_) writer.follow_control();
    bracket_text(spell_reply(tool_format_, {}, message.calls), writer);
    writer.eos();
}

// Mistral and Gemma know no system role: a leading system text is the head of the first user's
// turn. (Some of Mistral's templates put it into the last one; that would undo every cached
// prefix.)
void ChatTemplate::folded_turn(const ChatMessage& message, Writer& writer) const {
    if (message.role == Role::kAssistant) {
        reply_prompt(writer);
        reply(message.content, writer);
        return;
    }
    const std::string_view content = trimmed(message.content);
    if (!writer.open) {
        writer.mark(kind_ == TemplateKind::kGemma ? "<start_of_turn>user\n" : "[INST]");
        if (kind_ == TemplateKind::kGemma) {
            writer.text(content);
        } else {
            bracket_text(content, writer);
        }
    } else {
        writer.text(content);
    }
    writer.open = message.role == Role::kSystem && writer.first;
    if (writer.open) {
        writer.text("\n\n");
    } else {
        close_user(writer);
    }
}

// Text after [INST] or [/INST]: where those are text themselves, a space parts them.
void ChatTemplate::bracket_text(std::string_view content, Writer& writer) const {
    if (brackets_are_tokens_) return writer.text(content);
    writer.spaced_text(content);
}

void ChatTemplate::close_user(Writer& writer) const {
    writer.open = false;
    if (kind_ == TemplateKind::kGemma) return writer.mark("<end_of_turn>\n");
    writer.mark(brackets_are_tokens_ ? "[/INST]" : " [/INST]");
}

// A leading system message opens the first user's turn; that turn then closes it.
void ChatTemplate::llama2_turn(const ChatMessage& message, Writer& writer) const {
    if (message.role == Role::kAssistant) {
        reply_prompt(writer);
        reply(message.content, writer);
        return;
    }
    if (message.role == Role::kSystem && writer.first) {
        writer.bos();
        writer.mark("[INST] <<SYS>>\n");
        writer.text(message.content);
        writer.mark("\n<</SYS>>\n\n");
        writer.open = true;
        return;
    }
    if (writer.open) {
        const std::size_t last = message.content.find_last_not_of(kBlank);
        writer.text(std::string_view(message.content).substr(0, last + 1));
    } else {
        writer.bos();
        writer.mark("[INST]");
        writer.spaced_text(trim(message.content));
    }
    writer.mark(" [/INST]");
    writer.open = false;
}

void ChatTemplate::reply_prompt(Writer& writer) const {
    switch (kind_) {
        case TemplateKind::kChatMl: writer.mark("<|im_start|>assistant\n"); break;
        case TemplateKind::kLlama3:
            writer.mark("<|start_header_id|>assistant<|end_header_id|>\n\n");
            break;
        case TemplateKind::kGemma:
            if (writer.open) close_user(writer);  // A system message and no user after it.
            writer.mark("<start_of_turn>model\n");
            break;
        case TemplateKind::kMistral:
            if (writer.open) close_user(writer);
            break;
        case TemplateKind::kPhi3: writer.mark("<|assistant|>"); break;
        case TemplateKind::kZephyr: writer.mark("<|assistant|>\n"); break;
        case TemplateKind::kPlain: writer.mark("Assistant:"); break;
        case TemplateKind::kLlama2:
            if (writer.open) writer.mark(" [/INST]");  // A system message and no user after it.
            writer.open = false;
            break;
    }
}

// Qwen 3's template leaves the reasoning of earlier replies out.
std::string_view ChatTemplate::without_thought(std::string_view text) const {
    constexpr std::string_view kEnd = "</think>";
    const std::size_t end = strips_thought_ ? text.rfind(kEnd) : text.npos;
    if (end == text.npos) return text;
    text.remove_prefix(end + kEnd.size());
    text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
    return text;
}

void ChatTemplate::reply(std::string_view text, Writer& writer) const {
    if (reply_follows_control_) {
        writer.follow_control();
    } else {
        writer.continue_text();
    }
    text = trimmed(without_thought(text));
    switch (kind_) {
        case TemplateKind::kChatMl:
            writer.text(text);
            writer.mark("<|im_end|>\n");
            break;
        case TemplateKind::kLlama3:
            writer.text(text);
            writer.mark("<|eot_id|>");
            break;
        case TemplateKind::kGemma:
            writer.text(text);
            writer.mark("<end_of_turn>\n");
            break;
        case TemplateKind::kMistral:
            bracket_text(text, writer);
            writer.eos();
            break;
        case TemplateKind::kPhi3:
            writer.text(text);
            writer.mark("<|end|>");
            break;
        case TemplateKind::kZephyr:
            writer.text(text);
            writer.eos();
            writer.mark("\n");
            break;
        case TemplateKind::kPlain:
            writer.spaced_text(text);
            writer.mark("\n");
            break;
        case TemplateKind::kLlama2:
            writer.spaced_text(text);
            writer.mark(" ");
            writer.eos();
            break;
    }
}

}  // namespace hearth::engine
