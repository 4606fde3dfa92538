// hearth plan: how many sessions a fleet's KV memory holds, and what hit rate a load would have.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/cache_model.h"
#include "cli/commands.h"
#include "cli/model_store.h"
#include "cli/trace_file.h"
#include "common/config/values.h"
#include "common/wire/json_text.h"
#include "engine/model/checkpoint.h"
#include "engine/model/kv_layout.h"
#include "engine/text/tokenizer.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct PlanFlags {
    std::string model = "smollm2", kv_memory = "512MiB", kv_disk = "0", gap = "60s";
    std::string trace, chats;
    std::int64_t nodes = 1, session_tokens = 2'000, users = 0;
    bool json = false;
};

struct Plan {
    std::string model;
    double bytes_per_token = 0, page_bytes = 0;
    double memory = 0, disk = 0;  // Bytes of all nodes.
    ReplyGaps gaps;
    std::size_t turns = 0;
    std::vector<CacheForecast> forecasts;  // By rising size; none without a load.
};

std::string bytes_text(double bytes) {
    const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
    char text[32];
    std::snprintf(text, sizeof(text), bytes < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes,
                  units[unit]);
    return text;
}

std::string time_text(double seconds) {
    char text[32];
    if (seconds < 120)
        std::snprintf(text, sizeof(text), "%.0f s", seconds);
    else if (seconds < 7200)
        std::snprintf(text, sizeof(text), "%.0f min", seconds / 60);
    else
        std::snprintf(text, sizeof(text), "%.1f h", seconds / 3600);
    return text;
}

Error named(const char* flag, const Error& error) {
    return make_error(ErrorCode::kInvalidArgument, std::string(flag) + ": " + error.message);
}

Result<std::vector<TraceTurn>> load_of(const PlanFlags& flags, const engine::Checkpoint& model) {
    if (!flags.trace.empty()) return read_trace(flags.trace);
    const auto gap_ms = parse_duration_ms(flags.gap);
    if (!gap_ms) return named("--gap", gap_ms.error());
    const auto tokenizer = engine::Tokenizer::make(model.vocabulary);
    if (!tokenizer) return tokenizer.error();
    const ChatPace pace{flags.users, static_cast<double>(*gap_ms) / 1000};
    return read_paced_chats(flags.chats, pace, [&tokenizer](const std::string& text) {
        std::vector<engine::TokenId> ids;
        (*tokenizer)->encode(text, engine::Tokenizer::Special::kPlain, ids);
        return static_cast<std::int64_t>(ids.size());
    });
}

Result<Plan> make_plan(const PlanFlags& flags) {
    const auto memory = parse_bytes(flags.kv_memory);
    if (!memory) return named("--kv-memory", memory.error());
    const auto disk = parse_bytes(flags.kv_disk);
    if (!disk) return named("--kv-disk", disk.error());
    const auto path = obtain_model(flags.model);
    if (!path) return model_error(path.error());
    const auto model = engine::load_checkpoint(*path, {.weights = false});
    if (!model) return model.error();
    const engine::KvLayout layout = engine::KvLayout::of(model->config);
    Plan plan;
    plan.model = served_name(flags.model);
    plan.bytes_per_token = layout.bytes_per_token();
    plan.page_bytes = static_cast<double>(layout.page_bytes());
    plan.memory = static_cast<double>(*memory * flags.nodes);
    plan.disk = static_cast<double>(*disk * flags.nodes);
    if (flags.trace.empty() && flags.chats.empty()) return plan;
    const auto turns = load_of(flags, *model);
    if (!turns) return turns.error();
    plan.turns = turns->size();
    plan.gaps = reply_gaps(*turns);
    const double all = plan.memory + plan.disk;
    std::vector<double> sizes = {all / 4, all / 2, all, all * 2, all * 4};
    if (plan.disk > 0) sizes.push_back(plan.memory);
    std::sort(sizes.begin(), sizes.end());
    for (const double bytes : sizes)
        plan.forecasts.push_back(forecast(*turns, bytes, plan.bytes_per_token));
    return plan;
}

std::optional<double> hit_rate(const CacheForecast& each) {
    if (each.reusable_tokens == 0) return std::nullopt;
    return static_cast<double>(each.reused_tokens) / static_cast<double>(each.reusable_tokens);
}

void show(const PlanFlags& flags, const Plan& plan) {
    const double all = plan.memory + plan.disk;
    const auto tokens = static_cast<double>(flags.session_tokens);
    std::printf("%s: %.0f bytes of KV a token, %s a page of %d tokens\n", plan.model.c_str(),
                plan.bytes_per_token, bytes_text(plan.page_bytes).c_str(), engine::kPageTokens);
    std::printf("%lld node%s: %s of KV memory", static_cast<long long>(flags.nodes),
                flags.nodes == 1 ? "" : "s", bytes_text(plan.memory).c_str());
    if (plan.disk > 0) std::printf(" and %s on disk", bytes_text(plan.disk).c_str());
    std::printf(", %.0f tokens\n", std::floor(all / plan.bytes_per_token));
    std::printf("sessions of %.0f tokens: %.0f in memory", tokens,
                std::floor(plan.memory / plan.bytes_per_token / tokens));
    if (plan.disk > 0)
        std::printf(", %.0f with the disk", std::floor(all / plan.bytes_per_token / tokens));
    std::printf("\n");
    if (plan.forecasts.empty()) return;
    std::printf("\n%zu turns, %zu of them go on with another: half within %s, 95 %% within %s\n",
                plan.turns, plan.gaps.count, time_text(plan.gaps.p50_s).c_str(),
                time_text(plan.gaps.p95_s).c_str());
    std::printf("\n%12s  %10s  %18s\n", "KV", "hit rate", "kept unused for");
    for (const CacheForecast& each : plan.forecasts) {
        const auto rate = hit_rate(each);
        char text[32] = "-";
        if (rate) std::snprintf(text, sizeof(text), "%.1f %%", 100 * *rate);
        const char* mark = each.bytes == all           ? "  this fleet"
                           : each.bytes == plan.memory ? "  its memory alone"
                                                       : "";
        std::printf("%12s  %10s  %18s%s\n", bytes_text(each.bytes).c_str(), text,
                    each.kept_s > 0 ? time_text(each.kept_s).c_str() : "all of it", mark);
    }
}

json::object view(const PlanFlags& flags, const Plan& plan) {
    const double per_session = plan.bytes_per_token * static_cast<double>(flags.session_tokens);
    json::array forecasts;
    for (const CacheForecast& each : plan.forecasts) {
        json::value rate = nullptr;
        if (const auto known = hit_rate(each)) rate = *known;
        forecasts.push_back(
            json::object{{"kv_bytes", each.bytes}, {"hit_rate", rate}, {"kept_s", each.kept_s}});
    }
    return {{"model", plan.model},
            {"kv_bytes_per_token", plan.bytes_per_token},
            {"memory_bytes", plan.memory},
            {"disk_bytes", plan.disk},
            {"session_tokens", flags.session_tokens},
            {"sessions_in_memory", std::floor(plan.memory / per_session)},
            {"sessions", std::floor((plan.memory + plan.disk) / per_session)},
            {"turns", plan.turns},
            {"reply_gap_s", {{"p50", plan.gaps.p50_s}, {"p95", plan.gaps.p95_s}}},
            {"forecasts", std::move(forecasts)}};
}

int run(const PlanFlags& flags) {
    const auto plan = make_plan(flags);
    if (!plan) {
        std::fprintf(stderr, "hearth plan: %s\n", plan.error().message.c_str());
        return plan.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.json)
        std::printf("%s\n", json_text(view(flags, *plan)).c_str());
    else
        show(flags, *plan);
    return 0;
}

}  // namespace

void add_plan(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<PlanFlags>();
    CLI::App* sub = app.add_subcommand(
        "plan", "KV bytes a token, sessions that fit, and the hit rate that a load would have");
    sub->add_option("--model", flags->model, "smollm2, tiny, or a path")->capture_default_str();
    sub->add_option("--nodes", flags->nodes, "Cache nodes")
        ->check(CLI::Range(1, 100'000))
        ->capture_default_str();
    sub->add_option("--kv-memory", flags->kv_memory, "Of each node, such as 8GiB")
        ->capture_default_str();
    sub->add_option("--kv-disk", flags->kv_disk, "Of each node; 0 = none")->capture_default_str();
    sub->add_option("--session-tokens", flags->session_tokens, "Tokens of a usual session")
        ->check(CLI::Range(1, 100'000'000))
        ->capture_default_str();
    CLI::Option* trace =
        sub->add_option("--trace", flags->trace, "A recorded load, one JSON object a line");
    sub->add_option("--chats", flags->chats, "Chats as `hearth replay` takes them")
        ->excludes(trace);
    sub->add_option("--users", flags->users, "Chats at once with --chats; 0 = those of the file")
        ->check(CLI::Range(0, 100'000'000))
        ->capture_default_str();
    sub->add_option("--gap", flags->gap, "Time between two turns of a chat with --chats")
        ->capture_default_str();
    sub->add_flag("--json", flags->json, "One JSON object");
    sub->footer(
        "A line of a trace: {\"timestamp\":MS,\"session\":\"a\",\"input_length\":N,"
        "\"output_length\":N}; or\n"
        "\"hash_ids\" of chained blocks of 512 tokens in place of the session. The forecast is a "
        "plain LRU\ncache of the fleet's size; sticky sessions make many nodes one cache. "
        "Chats at a steady pace\nare the worst case for it.\n"
        "Examples:\n  hearth plan --model smollm2 --nodes 3 --kv-memory 4GiB --kv-disk 40GiB\n"
        "  hearth plan --chats chats.jsonl --users 10000 --gap 2m --nodes 3 --kv-memory 8GiB\n"
        "  hearth plan --model llama.gguf --kv-memory 64GiB --trace hour.jsonl --json");
    sub->callback([flags, &exit_code] { exit_code = run(*flags); });
}

}  // namespace hearth::cli
