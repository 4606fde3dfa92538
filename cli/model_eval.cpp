// Perplexity of float, int8 and int4 weights on the same windows of one text.
#include "cli/model_eval.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>
#include <vector>

#include "cli/model_store.h"
#include "common/base/machine.h"
#include "common/wire/json_text.h"
#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/ref/float_model.h"
#include "engine/text/tokenizer.h"

namespace hearth::cli {
namespace {

using engine::TokenId;
using Window = std::vector<TokenId>;
using Logits = std::function<std::vector<float>(const Window&)>;

struct Row {
    std::string weights;
    double perplexity = 0.0;
};

// Windows of the text's tokens, `options.max_tokens` in all; one of a single token predicts
// nothing.
std::vector<Window> windows_of(const engine::Tokenizer& tokenizer, const std::string& text,
                               const EvalOptions& options) {
    std::vector<TokenId> ids;
    tokenizer.encode(text, engine::Tokenizer::Special::kPlain, ids);
    ids.resize(std::min(ids.size(), static_cast<std::size_t>(options.max_tokens)));
    const engine::VocabularySpec& spec = tokenizer.spec();
    const std::size_t first = spec.add_bos && spec.bos >= 0 ? 1 : 0;
    const std::size_t step = static_cast<std::size_t>(options.window) - first;
    std::vector<Window> out;
    for (std::size_t at = 0; at < ids.size(); at += step) {
        Window window(first, spec.bos);
        const auto end = std::min(ids.size(), at + step);
        window.insert(window.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                      ids.begin() + static_cast<std::ptrdiff_t>(end));
        if (window.size() > 1) out.push_back(std::move(window));
    }
    return out;
}

std::size_t predicted(const std::vector<Window>& windows) {
    std::size_t out = 0;
    for (const Window& window : windows) out += window.size() - 1;
    return out;
}

double perplexity(const std::vector<Window>& windows, const Logits& logits) {
    double loss = 0.0;
    for (std::size_t w = 0; w < windows.size(); ++w) {
        const Window& window = windows[w];
        const std::vector<float> all = logits(window);
        const std::size_t vocab = all.size() / window.size();
        for (std::size_t i = 0; i + 1 < window.size(); ++i) {
            const float* row = all.data() + i * vocab;
            const double largest = *std::max_element(row, row + vocab);
            double sum = 0.0;
            for (std::size_t v = 0; v < vocab; ++v) sum += std::exp(row[v] - largest);
            loss += largest + std::log(sum) - row[window[i + 1]];
        }
    }
    return std::exp(loss / static_cast<double>(predicted(windows)));
}

// One window through an engine, from an empty cache.
std::vector<float> engine_logits(engine::Engine& engine, const Window& window) {
    const auto page = engine.kv_layout().page_bytes();
    const std::size_t pages = (window.size() + engine::kPageTokens - 1) / engine::kPageTokens;
    const std::size_t stride = (page + 63) / 64 * 64;
    engine::AlignedBuffer<std::byte> memory;
    memory.resize(pages * stride);
    std::vector<std::byte*> pointers;
    for (std::size_t i = 0; i < pages; ++i) pointers.push_back(memory.data() + i * stride);
    std::vector<float> out(window.size() * static_cast<std::size_t>(engine.config().vocab_size));
    const engine::Slice slice = {
        .pages = pointers, .start = 0, .tokens = window, .logits = engine::Slice::Logits::kAll};
    engine.step({&slice, 1}, out);
    return out;
}

Result<std::string> read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return make_error(ErrorCode::kNotFound, path + ": cannot be read");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

Result<Row> eval_float(const std::string& path, const std::vector<Window>& windows,
                       std::int32_t threads) {
    auto loaded = engine::load_checkpoint(path, {.keep_floats = true});
    if (!loaded) return loaded.error();
    engine::FloatModel model(std::move(*loaded), threads);
    return Row{"float", perplexity(windows, [&](const Window& w) { return model.logits(w); })};
}

Result<Row> eval_engine(const std::string& path, const std::vector<Window>& windows,
                        const engine::EngineOptions& options) {
    auto loaded = engine::load_checkpoint(path);
    if (!loaded) return loaded.error();
    auto made = engine::make_engine(std::move(*loaded), options);
    if (!made) return made.error();
    engine::Engine& running = **made;
    return Row{options.weights,
               perplexity(windows, [&](const Window& w) { return engine_logits(running, w); })};
}

void print(const EvalOptions& options, const std::vector<Window>& windows,
           const std::vector<Row>& rows) {
    const double best = rows.front().perplexity;
    if (options.json) {
        boost::json::object out = {{"model", served_name(options.model)},
                                   {"tokens", predicted(windows)},
                                   {"window", options.window}};
        for (const Row& row : rows)
            out[row.weights] = {{"perplexity", row.perplexity},
                                {"over_float", row.perplexity / best - 1.0}};
        std::printf("%s\n", json_text(out).c_str());
        return;
    }
    std::printf("%zu tokens predicted, windows of %d\n", predicted(windows), options.window);
    for (const Row& row : rows)
        std::printf("%-6s perplexity %9.4f  %+.2f %%\n", row.weights.c_str(), row.perplexity,
                    100.0 * (row.perplexity / best - 1.0));
}

Result<void> run(EvalOptions options) {
    auto path = obtain_model(options.model);
    if (!path) return path.error();
    auto text = read_text(options.text);
    if (!text) return text.error();
    auto header = engine::load_checkpoint(*path, {.weights = false});
    if (!header) return header.error();
    auto tokenizer = engine::Tokenizer::make(header->vocabulary);
    if (!tokenizer) return tokenizer.error();
    options.window = std::min(options.window, header->config.context_length);
    const std::vector<Window> windows = windows_of(**tokenizer, *text, options);
    if (windows.empty())
        return make_error(ErrorCode::kInvalidArgument, options.text + ": fewer than two tokens");

    const std::int32_t threads =
        options.threads > 0 ? options.threads : std::int32_t{read_machine().threads()};
    std::vector<Row> rows;
    auto row = eval_float(*path, windows, threads);
    if (!row) return row.error();
    rows.push_back(std::move(*row));
    for (const char* weights : {"int8", "int4"}) {
        row = eval_engine(*path, windows,
                          {.backend = options.backend, .weights = weights, .threads = threads});
        if (!row) return row.error();
        rows.push_back(std::move(*row));
    }
    print(options, windows, rows);
    return {};
}

}  // namespace

int eval_model(const EvalOptions& options) {
    const Result<void> done = run(options);
    if (done) return 0;
    std::fprintf(stderr, "hearth model: %s\n", done.error().message.c_str());
    return done.error().code == ErrorCode::kNotFound ? 2 : 1;
}

}  // namespace hearth::cli
