// DecodeLoop: what is launched before the step ahead of it is known.
#include "engine/kernels/cuda/decode_loop.h"

#include "common/base/check.h"

namespace hearth::engine::cuda {

void DecodeLoop::launch(std::span<const Row> rows) {
    CHECK(under_way() < 2 && !rows.empty());
    std::vector<SampleRow> samples;
    std::vector<std::int32_t> sources;
    std::vector<TokenId> tokens;
    for (const Row& row : rows) {
        CHECK(row.previous < 0 || launched_ > 0);
        const float inverse = row.temperature > 0.0f ? 1.0f / row.temperature : 0.0f;
        samples.push_back({inverse, row.seed, row.position});
        sources.push_back(row.previous);
        tokens.push_back(row.previous < 0 ? row.token : 0);
    }
    std::vector<Slice> slices;
    for (std::size_t i = 0; i < rows.size(); ++i)
        slices.push_back({.pages = rows[i].pages,
                          .start = rows[i].position,
                          .tokens = std::span(tokens).subspan(i, 1),
                          .logits = Slice::Logits::kLast});
    backend_.sample_next(samples, sources);
    engine_.step(slices, {});
    ++launched_;
}

std::span<const TokenId> DecodeLoop::collect() {
    CHECK(under_way() > 0);
    ++collected_;
    return backend_.collect_sampled();
}

std::vector<std::vector<TokenId>> DecodeLoop::generate(std::vector<Row> rows, std::int32_t count,
                                                       const std::function<bool(TokenId)>& ends) {
    std::vector<std::vector<TokenId>> out(rows.size());
    std::vector<bool> ended(rows.size(), count == 0);
    std::vector<std::vector<std::size_t>> who;  // Rows of the steps under way.
    std::vector<std::int32_t> row_of(rows.size(), -1), steps(rows.size(), 0);
    const auto launch_next = [&] {
        std::vector<Row> batch;
        std::vector<std::size_t> here;
        std::vector<std::int32_t> now(rows.size(), -1);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (ended[i] || steps[i] == count) continue;
            Row row = rows[i];
            row.position += steps[i];
            if (steps[i]++ > 0) row.previous = row_of[i];
            now[i] = static_cast<std::int32_t>(batch.size());
            batch.push_back(row);
            here.push_back(i);
        }
        if (batch.empty()) return;
        launch(batch);
        row_of = now;
        who.push_back(here);
    };
    launch_next();
    while (under_way() > 0) {
        launch_next();
        const std::span<const TokenId> drawn = collect();
        const std::vector<std::size_t> here = who.front();
        who.erase(who.begin());
        for (std::size_t i = 0; i < here.size(); ++i) {
            if (ended[here[i]]) continue;  // The wasted step.
            out[here[i]].push_back(drawn[i]);
            ended[here[i]] = ends(drawn[i]);
        }
    }
    return out;
}

}  // namespace hearth::engine::cuda
