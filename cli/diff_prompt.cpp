// hearth diff-prompt: why the second of two requests could not use the KV of the first.
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <sstream>

#include "cli/commands.h"
#include "cli/model_store.h"
#include "cli/prompt_diff.h"
#include "common/wire/json_text.h"
#include "engine/model/checkpoint.h"

namespace hearth::cli {
namespace {

struct DiffFlags {
    std::string a, b, model, chat_template;
    bool json = false;
};

Result<ChatRequest> read_request(const std::string& path) {
    std::stringstream text;
    if (path == "-") {
        text << std::cin.rdbuf();
    } else {
        std::ifstream file(path, std::ios::binary);
        if (!file) return make_error(ErrorCode::kNotFound, path + ": cannot be read");
        text << file.rdbuf();
    }
    ChatRequest request;
    const auto wrong =
        parse_chat_request(text.str(), std::numeric_limits<std::int32_t>::max(), request);
    if (!wrong) return request;
    const std::string field = wrong->param.empty() ? "" : wrong->param + ": ";
    return make_error(ErrorCode::kInvalidArgument, path + ": " + field + wrong->message);
}

Result<PromptDiff> compare(const DiffFlags& flags) {
    const auto a = read_request(flags.a);
    if (!a) return a.error();
    const auto b = read_request(flags.b);
    if (!b) return b.error();
    PromptDiff diff = diff_prompts(*a, *b);
    if (flags.model.empty()) return diff;
    const auto path = obtain_model(flags.model);
    if (!path) return model_error(path.error());
    const auto checkpoint = engine::load_checkpoint(*path, {.weights = false});
    if (!checkpoint) return checkpoint.error();
    const auto renderer = PromptRenderer::make(*checkpoint, flags.chat_template);
    if (!renderer) return renderer.error();
    auto tokens = diff_tokens(**renderer, *a, *b);
    if (!tokens) return tokens.error();
    diff.tokens = std::move(*tokens);
    return diff;
}

int run(const DiffFlags& flags) {
    const auto diff = compare(flags);
    if (!diff) {
        std::fprintf(stderr, "hearth diff-prompt: %s\n", diff.error().message.c_str());
        return diff.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.json)
        std::printf("%s\n", json_text(diff_json(*diff)).c_str());
    else
        std::fputs(diff_text(*diff).c_str(), stdout);
    return 0;
}

}  // namespace

void add_diff_prompt(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<DiffFlags>();
    CLI::App* sub = app.add_subcommand(
        "diff-prompt", "Where two chat requests stop being the same prompt: message, byte, token");
    sub->add_option("A", flags->a, "File with the body of a request, '-' = standard input")
        ->required();
    sub->add_option("B", flags->b, "The same of a later one")->required();
    sub->add_option("--model", flags->model, "smollm2, tiny, or a path: compare tokens too");
    sub->add_option("--chat-template", flags->chat_template,
                    "As the node's setting; default: recognised from the model");
    sub->add_flag("--json", flags->json, "One JSON object");
    sub->footer(
        "The bodies are those of POST /v1/chat/completions, read as a node reads them.\n"
        "Examples:\n  hearth diff-prompt turn-1.json turn-2.json\n"
        "  hearth diff-prompt turn-1.json turn-2.json --model smollm2 --json");
    sub->callback([flags, &exit_code] { exit_code = run(*flags); });
}

}  // namespace hearth::cli
