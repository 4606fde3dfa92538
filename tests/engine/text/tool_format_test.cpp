// Tools in each family's template: exact texts, what the model's own template says, and replies
// that the next prompt repeats.
#include "engine/text/tool_format.h"

#include <gtest/gtest.h>

#include "engine/text/chat_template.h"
#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

// The marks of real templates around texts of this test.
const char kTaggedText[] =
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{{- messages[0]['content'] }}"
    R"({{- "\n\n# Tools\n\nIn <tools></tools> stand \"functions\":\n<tools>" }})"
    "{%- for tool in tools %}{{- \"\\n\" }}{{- tool | tojson }}{%- endfor %}"
    R"({{- "\n</tools>\n\nCall with <tool_call>\n</tool_call><|im_end|>\n" }})"
    "{%- endif %}{{- '<|im_start|>' + message.role }}";
const char kLlama3Text[] =
    "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}"
    "{{- \"Environment: ipython\\n\" }}{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
    "{%- if tools is not none and not tools_in_user_message %}"
    "{{- \"There are functions. \" }}{{- 'Say {\"name\": it}.' }}{{- \"No more.\\n\\n\" }}"
    "{%- for t in tools %}{{- t | tojson(indent=4) }}{{- \"\\n\\n\" }}{%- endfor %}{%- endif %}";
const char kMistralText[] = "{{ bos_token }}{{ '[AVAILABLE_TOOLS] [' }}{{ '[INST] ' + content }}";

const ChatTools kTools = {{"F1", "F2"}, false};
const std::vector<ChatMessage> kTalk = {
    {Role::kSystem, "Be kind."},
    {Role::kUser, "hi"},
    {Role::kAssistant, "", {{"f", "{\"a\":1}"}, {"g", "{}"}}},
    {Role::kTool, "one \"1\""},
    {Role::kTool, "two"},
    {Role::kUser, "bye"},
};

std::string rendered(const std::string& text, const std::string& name,
                     const std::vector<ChatMessage>& messages, const ChatTools& tools = kTools,
                     bool reply_prompt = true) {
    const auto words = tokenizer_of(byte_vocabulary());
    auto chat = ChatTemplate::make(*words, text, name);
    CHECK_MSG(chat.ok(), chat.ok() ? "" : chat.error().message);
    std::vector<TokenId> ids;
    chat->render(messages, reply_prompt, ids, tools);
    return text_of(*words, ids, true);
}

TEST(ToolFormat, TaggedAsTheTemplateSays) {
    EXPECT_EQ(rendered(kTaggedText, "", kTalk),
              "<|im_start|>system\nBe kind.\n\n# Tools\n\nIn <tools></tools> stand \"functions\":\n"
              "<tools>\nF1\nF2\n</tools>\n\nCall with <tool_call>\n</tool_call><|im_end|>\n"
              "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
              "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n</tool_call>\n"
              "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|im_end|>\n"
              "<|im_start|>user\n<tool_response>\none \"1\"\n</tool_response>\n"
              "<tool_response>\ntwo\n</tool_response><|im_end|>\n"
              "<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n");
    // Results at the end are closed before the reply.
    const std::vector<ChatMessage> open(kTalk.begin(), kTalk.begin() + 4);
    const std::string end =
        "<tool_response>\none \"1\"\n</tool_response><|im_end|>\n<|im_start|>assistant\n";
    EXPECT_TRUE(rendered(kTaggedText, "", open).ends_with(end));
    EXPECT_TRUE(rendered(kTaggedText, "", {kTalk[1]})
                    .starts_with("<|im_start|>system\n# Tools\n\nIn <tools>"));
}

TEST(ToolFormat, Llama3AsTheTemplateSays) {
    EXPECT_EQ(rendered(kLlama3Text, "", kTalk),
              "<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n"
              "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
              "There are functions. Say {\"name\": it}.No more.\n\nF1\n\nF2\n\nBe kind.<|eot_id|>"
              "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n"
              "{\"name\": \"f\", \"parameters\": {\"a\":1}}\n{\"name\": \"g\", \"parameters\": {}}"
              "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\none \"1\"<|eot_id|>"
              "<|start_header_id|>ipython<|end_header_id|>\n\ntwo<|eot_id|>"
              "<|start_header_id|>user<|end_header_id|>\n\nbye<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ToolFormat, Mistral) {
    EXPECT_EQ(rendered(kMistralText, "", kTalk),
              "[AVAILABLE_TOOLS] [F1, F2][/AVAILABLE_TOOLS][INST] Be kind.\n\nhi [/INST]"
              "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\":1}}, "
              "{\"name\": \"g\", \"arguments\": {}}]</s>"
              "[TOOL_RESULTS] {\"content\": \"one \\\"1\\\"\"}[/TOOL_RESULTS]"
              "[TOOL_RESULTS] {\"content\": \"two\"}[/TOOL_RESULTS][INST] bye [/INST]");
    ChatTools opened = kTools;
    opened.opens_call = true;
    EXPECT_TRUE(rendered(kMistralText, "", {kTalk[1]}, opened).ends_with("[/INST][TOOL_CALLS]"));
}

TEST(ToolFormat, WhoHasTools) {
    const auto words = tokenizer_of(byte_vocabulary());
    const auto format = [&](const std::string& text, const std::string& name) {
        return ChatTemplate::make(*words, text, name)->tool_format();
    };
    EXPECT_EQ(format(kTaggedText, ""), ToolFormat::kTagged);
    EXPECT_EQ(format("{{ '<|im_start|>' }}", ""), ToolFormat::kNone);
    EXPECT_EQ(format("{{ '<|im_start|>' }}", "qwen"), ToolFormat::kTagged);
    EXPECT_EQ(format("", "qwen"), ToolFormat::kTagged);
    EXPECT_EQ(format("", "chatml"), ToolFormat::kNone);
    EXPECT_EQ(format("{{ '<|start_header_id|>' }}", ""), ToolFormat::kNone);
    EXPECT_EQ(format("{{ '<|start_header_id|>' }}", "llama3"), ToolFormat::kLlama3);
    EXPECT_EQ(format("{{ '[INST] ' }}", ""), ToolFormat::kNone);
    EXPECT_EQ(format("", "mistral"), ToolFormat::kMistral);
    for (const char* name : {"gemma", "phi3", "zephyr", "plain", "llama2"})
        EXPECT_EQ(format("", name), ToolFormat::kNone) << name;
    EXPECT_NE(rendered("", "qwen", kTalk).find("<tools>\nF1\nF2\n</tools>"), std::string::npos);
    EXPECT_NE(rendered("", "llama3", kTalk).find("\n\nF1\n\nF2\n\nBe kind."), std::string::npos);
}

// What a reply leaves is what the next prompt has, token for token.
TEST(ToolFormat, ARepliesIdsAreTheNextPrompts) {
    const auto words = tokenizer_of(byte_vocabulary());
    for (const auto& [text, name] : {std::pair{kTaggedText, ""},
                                     {kLlama3Text, ""},
                                     {kMistralText, ""},
                                     {"", "qwen"},
                                     {"", "llama3"}}) {
        const auto chat = ChatTemplate::make(*words, text, name);
        for (const bool opens : {false, true}) {
            for (std::size_t end = 2; end < kTalk.size(); ++end) {
                std::vector<ChatMessage> before(kTalk.begin(),
                                                kTalk.begin() + static_cast<std::ptrdiff_t>(end));
                ChatTools tools = kTools;
                tools.opens_call = opens;
                ChatMessage reply{Role::kAssistant, "", {{"h", "{\"x\": [1, 2]}"}}};
                std::vector<TokenId> ids, whole;
                chat->render(before, true, ids, tools);
                chat->render_reply(reply, ids, opens);
                before.push_back(reply);
                tools.opens_call = false;
                chat->render(before, false, whole, tools);
                EXPECT_EQ(text_of(*words, ids, true), text_of(*words, whole, true));
                EXPECT_EQ(ids, whole);
            }
        }
    }
}

TEST(ToolFormat, QuotesAsJsonDoes) {
    EXPECT_EQ(json_quoted("a\"\\\n\t\x01\x1f\xc3\xa9/"),
              "\"a\\\"\\\\\\n\\t\\u0001\\u001f\xc3\xa9/\"");
}

}  // namespace
}  // namespace hearth::engine
