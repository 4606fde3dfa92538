// hearth model: get a known model, make a small random one, say what a file holds.
#include <algorithm>
#include <boost/json.hpp>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/model_eval.h"
#include "cli/model_store.h"
#include "common/wire/json_text.h"
#include "engine/model/checkpoint.h"
#include "engine/model/kv_layout.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

constexpr const char* kJsonHelp = "The answer as JSON";

// `exit_code`: 1 what went wrong, 2 what was asked for in a wrong way.
int report(const Error& error, int exit_code = 1) {
    std::fprintf(stderr, "hearth model: %s\n", error.message.c_str());
    return exit_code;
}

// Of obtain_model(): a name that nobody knows is the caller's.
int report_name(const Error& error) {
    return report(error, error.code == ErrorCode::kNotFound ? 2 : 1);
}

// A shape's error begins with the name of the field: "tiny model: head_dim is ..." becomes
// "--head-dim is ...".
std::string as_flag(std::string message) {
    constexpr std::string_view kPrefix = "tiny model: ";
    if (message.starts_with(kPrefix)) message.replace(0, kPrefix.size(), "--");
    const std::size_t end = std::min(message.find(' '), message.size());
    std::replace(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
    return message;
}

int show(const json::value& value) {
    std::printf("%s\n", json_text(value).c_str());
    return 0;
}

int show_path(const std::string& path, bool as_json) {
    if (as_json) return show(json::object{{"path", path}});
    std::printf("%s\n", path.c_str());
    return 0;
}

int get(const std::string& name, bool as_json) {
    auto path = obtain_model(name);
    if (!path) return report_name(path.error());
    return show_path(*path, as_json);
}

int list(bool as_json) {
    json::array models;
    for (const KnownModel& model : known_models())
        models.push_back(json::object{{"name", model.name}, {"about", model.about}});
    if (as_json) return show(models);
    for (const KnownModel& model : known_models())
        std::printf("%-10s %s\n", model.name, model.about);
    return 0;
}

int make_tiny(const std::string& path, const engine::TinyModelOptions& options, bool force,
              bool as_json) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (fs::exists(path, ignored) && !(force && fs::is_regular_file(path, ignored))) {
        const bool file = fs::is_regular_file(path, ignored);
        std::fprintf(stderr, "hearth model: %s: %s\n", path.c_str(),
                     file ? "exists; --force writes over it" : "is no regular file");
        return 2;
    }
    const auto made = engine::write_tiny_model(path, options);
    if (!made) {
        const Error& error = made.error();
        if (error.code == ErrorCode::kUnavailable) return report(error);
        return report(make_error(error.code, as_flag(error.message)), 2);
    }
    return show_path(path, as_json);
}

json::object facts_of(const std::string& path, const engine::ModelConfig& c) {
    const engine::KvLayout layout = engine::KvLayout::of(c);
    return {{"file", path},
            {"name", c.name},
            {"layers", c.layer_count()},
            {"hidden", c.hidden},
            {"ffn_hidden", c.ffn_hidden},
            {"heads", c.heads},
            {"kv_heads", c.kv_heads},
            {"head_dim", c.head_dim},
            {"vocabulary", c.vocab_size},
            {"context", c.context_length},
            {"kv_banks", c.kv_banks},
            {"kv_bytes_per_token", layout.bytes_per_token()},
            {"kv_page_bytes", layout.page_bytes()}};
}

int info(const std::string& name, bool as_json) {
    auto path = obtain_model(name);
    if (!path) return report_name(path.error());
    auto loaded = engine::load_checkpoint(*path, {.weights = false});
    if (!loaded) return report(loaded.error());
    const engine::ModelConfig& c = loaded->config;
    if (as_json) return show(facts_of(*path, c));
    const engine::KvLayout layout = engine::KvLayout::of(c);
    std::printf("file                %s\nname                %s\n", path->c_str(), c.name.c_str());
    std::printf("layers              %d\nhidden              %d\nffn hidden          %d\n",
                c.layer_count(), c.hidden, c.ffn_hidden);
    std::printf("heads               %d, KV heads %d, head dim %d\n", c.heads, c.kv_heads,
                c.head_dim);
    std::printf("vocabulary          %d\ncontext             %d tokens\n", c.vocab_size,
                c.context_length);
    std::printf("KV banks            %d\nKV bytes per token  %.0f (int8)\n", c.kv_banks,
                layout.bytes_per_token());
    std::printf("KV page             %zu bytes, %d tokens\n", layout.page_bytes(),
                engine::kPageTokens);
    return 0;
}

void add_make_tiny(CLI::App& model, int& exit_code) {
    struct Flags {
        std::string path;
        engine::TinyModelOptions shape;
        bool force = false, json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* tiny = model.add_subcommand("make-tiny", "Write a small random model as GGUF");
    tiny->add_option("path", flags->path, "File to write")->required();
    tiny->add_option("--seed", flags->shape.seed, "Same seed and shape, same bytes")
        ->capture_default_str();
    tiny->add_option("--hidden", flags->shape.hidden, "Width")
        ->check(CLI::Range(8, 65536))
        ->capture_default_str();
    tiny->add_option("--ffn-hidden", flags->shape.ffn_hidden, "Feed-forward width")
        ->check(CLI::Range(8, 262144))
        ->capture_default_str();
    tiny->add_option("--layers", flags->shape.layers, "Layers")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
    tiny->add_option("--heads", flags->shape.heads, "Query heads")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
    tiny->add_option("--kv-heads", flags->shape.kv_heads, "KV heads")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
    tiny->add_option("--head-dim", flags->shape.head_dim, "Width of a head")
        ->check(CLI::Range(2, 512))
        ->capture_default_str();
    tiny->add_option("--context", flags->shape.context_length, "Context, tokens")
        ->check(CLI::Range(64, 16777216))
        ->capture_default_str();
    tiny->add_option("--window", flags->shape.window, "Sliding window, tokens; 0 = none")
        ->check(CLI::Range(0, 16777216))
        ->capture_default_str();
    tiny->add_option("--global-every", flags->shape.global_every,
                     "Every n-th layer sees everything")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
    tiny->add_option("--share-kv", flags->shape.share_kv,
                     "Neighbouring layers that share a KV bank")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
    tiny->footer(
        "Example:\n  hearth model make-tiny --seed 7 --window 64 --share-kv 2 /tmp/t.gguf");
    tiny->add_flag("--force", flags->force, "Write over a file that exists");
    tiny->add_flag("--json", flags->json, kJsonHelp);
    tiny->callback([flags, &exit_code] {
        exit_code = make_tiny(flags->path, flags->shape, flags->force, flags->json);
    });
}

}  // namespace

void add_model(CLI::App& app, int& exit_code) {
    struct Flags {
        std::string name;
        bool json = false;
        EvalOptions eval;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* model = app.add_subcommand("model", "Get, make and inspect models");
    model->require_subcommand(1);
    model->footer(
        "Models are kept in $HEARTH_CACHE_FOLDER, else ~/.cache/hearth.\n"
        "Examples:\n  hearth model list\n  hearth model get smollm2\n  hearth model info tiny");

    CLI::App* get_app =
        model->add_subcommand("get", "Print a model's path, downloading it if needed");
    get_app->add_option("name", flags->name, "smollm2, tiny, or a path")->required();
    get_app->footer("Example:\n  hearth model get smollm2");
    get_app->callback([flags, &exit_code] { exit_code = get(flags->name, flags->json); });

    CLI::App* list_app = model->add_subcommand("list", "The models that `get` knows");
    list_app->footer("Example:\n  hearth model list");
    list_app->callback([flags, &exit_code] { exit_code = list(flags->json); });

    CLI::App* info_app = model->add_subcommand("info", "Shape and KV size of a model");
    info_app->add_option("name", flags->name, "smollm2, tiny, or a path")->required();
    info_app->footer("Example:\n  hearth model info smollm2 --json");
    info_app->callback([flags, &exit_code] { exit_code = info(flags->name, flags->json); });
    for (CLI::App* each : {get_app, list_app, info_app})
        each->add_flag("--json", flags->json, kJsonHelp);

    CLI::App* eval_app =
        model->add_subcommand("eval", "Perplexity of float, int8 and int4 weights on a text");
    eval_app->add_option("model", flags->eval.model, "smollm2, tiny, or a path")->required();
    eval_app->add_option("file", flags->eval.text, "A file of UTF-8 text")->required();
    eval_app
        ->add_option("--window", flags->eval.window, "Tokens read from an empty cache at a time")
        ->check(CLI::Range(2, 8192))
        ->capture_default_str();
    eval_app->add_option("--max-tokens", flags->eval.max_tokens, "Of the text, from its beginning")
        ->check(CLI::Range(2, 100'000'000))
        ->capture_default_str();
    eval_app->add_option("--threads", flags->eval.threads, "0 = one per core")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    eval_app->add_option("--backend", flags->eval.backend, "auto, cpu or ref")
        ->capture_default_str();
    eval_app->add_flag("--json", flags->eval.json, kJsonHelp);
    eval_app->footer("Example:\n  hearth model eval smollm2 words.txt --max-tokens 2048");
    eval_app->callback([flags, &exit_code] { exit_code = eval_model(flags->eval); });
    add_make_tiny(*model, exit_code);
}

}  // namespace hearth::cli
