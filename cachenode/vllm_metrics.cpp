// One table of names; sums over series that differ in nothing that vLLM tells apart.
#include "cachenode/vllm_metrics.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace hearth {
namespace {

struct Alias {
    const char *ours, *only;  // The label that a series must have; empty = any.
    const char *theirs, *type, *help;
};

constexpr std::array kAliases = {
    Alias{"hearth_engine_requests_running", "", "vllm:num_requests_running", "gauge",
          "Requests in the running batch."},
    Alias{"hearth_engine_requests_waiting", "", "vllm:num_requests_waiting", "gauge",
          "Requests waiting for a batch slot."},
    Alias{"hearth_engine_prompt_tokens_total", "", "vllm:prompt_tokens_total", "counter",
          "Prompt tokens."},
    Alias{"hearth_engine_prompt_tokens_total", "", "vllm:prefix_cache_queries_total", "counter",
          "Prompt tokens that the cache was asked for."},
    Alias{"hearth_engine_prompt_tokens_total", "source=\"device\"", "vllm:prefix_cache_hits_total",
          "counter", "Of these, found in memory."},
    Alias{"hearth_engine_prompt_tokens_total", "source=\"disk\"",
          "vllm:external_prefix_cache_hits_total", "counter", "Of these, found on disk or a peer."},
    Alias{"hearth_engine_prompt_tokens_total", "source=\"peer\"",
          "vllm:external_prefix_cache_hits_total", "counter", "Of these, found on disk or a peer."},
    Alias{"hearth_engine_generation_tokens_total", "", "vllm:generation_tokens_total", "counter",
          "Tokens generated."},
    Alias{"hearth_engine_requests_finished_total", "", "vllm:request_success_total", "counter",
          "Requests finished, by reason."},
    Alias{"hearth_engine_time_to_first_token_seconds", "", "vllm:time_to_first_token_seconds",
          "histogram", "Time to the first token."},
    Alias{"hearth_engine_inter_token_latency_seconds", "", "vllm:inter_token_latency_seconds",
          "histogram", "Time between two tokens."},
    Alias{"hearth_engine_request_duration_seconds", "", "vllm:e2e_request_latency_seconds",
          "histogram", "Time of a request."},
    Alias{"hearth_engine_queue_duration_seconds", "", "vllm:request_queue_time_seconds",
          "histogram", "Time in the waiting state."},
    Alias{"hearth_engine_prefill_duration_seconds", "", "vllm:request_prefill_time_seconds",
          "histogram", "Time in prefill."},
    Alias{"hearth_engine_request_prompt_tokens", "", "vllm:request_prompt_tokens", "histogram",
          "Prompt tokens of a request."},
    Alias{"hearth_engine_request_generation_tokens", "", "vllm:request_generation_tokens",
          "histogram", "Tokens generated for a request."},
    Alias{"hearth_engine_step_batch_tokens", "", "vllm:iteration_tokens_total", "histogram",
          "Tokens of an engine step."},
};

// name{labels} value
struct Sample {
    std::string_view name, labels;
    double value = 0;
};

std::optional<Sample> sample_of(std::string_view line) {
    if (line.empty() || line.front() == '#') return std::nullopt;
    const std::size_t end = line.find_first_of("{ ");
    const std::size_t space = line.rfind(' ');
    if (end == line.npos || space < end) return std::nullopt;
    Sample out;
    out.name = line.substr(0, end);
    if (line[end] == '{') out.labels = line.substr(end + 1, space - end - 2);
    out.value = std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
    return out;
}

std::string_view value_of(std::string_view labels, std::string_view name) {
    const std::string sought = std::string(name) + "=\"";
    const std::size_t at = labels.find(sought);
    if (at == labels.npos) return {};
    const std::size_t begin = at + sought.size();
    return labels.substr(begin, labels.find('"', begin) - begin);
}

// What is left of our labels, in vLLM's words.
std::string labels_of(const Sample& sample, const std::string& common) {
    std::string out = common;
    if (const auto bound = value_of(sample.labels, "le"); !bound.empty())
        out += ",le=\"" + std::string(bound) + '"';
    if (auto reason = value_of(sample.labels, "reason"); !reason.empty()) {
        if (reason == "cancelled") reason = "abort";
        out += ",finished_reason=\"" + std::string(reason) + '"';
    }
    return out;
}

// "" or the ending of a histogram's series; nothing if `name` is not of the metric `base`.
std::optional<std::string_view> ending(std::string_view name, const Alias& alias) {
    const std::string_view base = alias.ours;
    if (name == base) return "";
    if (std::string_view(alias.type) != "histogram" || !name.starts_with(base)) return std::nullopt;
    const std::string_view rest = name.substr(base.size());
    if (rest == "_bucket" || rest == "_sum" || rest == "_count") return rest;
    return std::nullopt;
}

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
}

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\' || c == '"') out += '\\';
        out += c == '\n' ? ' ' : c;
    }
    return out;
}

// Sums by series, in the order in which they came first.
struct Family {
    std::vector<std::string> order;
    std::map<std::string, double> values;
    void add(std::string series, double value) {
        const auto [at, is_new] = values.try_emplace(series, 0);
        at->second += value;
        if (is_new) order.push_back(std::move(series));
    }
};

std::string head_of(const std::string& name, const std::string& type, const std::string& help) {
    return "# HELP " + name + ' ' + help + "\n# TYPE " + name + ' ' + type + '\n';
}

}  // namespace

std::string vllm_metrics(const std::string& exposition, const VllmFacts& facts) {
    const std::string common = "model_name=\"" + escaped(facts.model) + "\",engine=\"0\"";
    std::map<std::string, Family> families;
    double held = 0, capacity = 0;
    for (std::size_t at = 0; at < exposition.size();) {
        const std::size_t end = std::min(exposition.find('\n', at), exposition.size());
        const auto sample = sample_of(std::string_view(exposition).substr(at, end - at));
        at = end + 1;
        if (!sample) continue;
        const bool is_device = value_of(sample->labels, "tier") == "device";
        if (is_device && sample->name == "hearth_cache_tier_bytes") held = sample->value;
        if (is_device && sample->name == "hearth_cache_tier_capacity_bytes")
            capacity = sample->value;
        for (const Alias& alias : kAliases) {
            const auto rest = ending(sample->name, alias);
            if (!rest || sample->labels.find(alias.only) == std::string_view::npos) continue;
            families[alias.theirs].add(
                alias.theirs + std::string(*rest) + '{' + labels_of(*sample, common) + '}',
                sample->value);
        }
    }
    std::string out;
    for (const Alias& alias : kAliases) {
        const auto family = families.find(alias.theirs);
        if (family == families.end()) continue;
        out += head_of(alias.theirs, alias.type, alias.help);
        for (const std::string& series : family->second.order)
            out += series + ' ' + number(family->second.values.at(series)) + '\n';
        families.erase(family);
    }
    out += head_of("vllm:kv_cache_usage_perc", "gauge", "Share of the KV memory in use, 0 to 1.");
    out += "vllm:kv_cache_usage_perc{" + common + "} " +
           number(capacity > 0 ? held / capacity : 0) + '\n';
    out += head_of("vllm:cache_config_info", "gauge", "Facts of the cache; value is always 1.");
    out += "vllm:cache_config_info{" + common + ",block_size=\"" +
           std::to_string(facts.block_tokens) + "\",num_gpu_blocks=\"" +
           std::to_string(facts.blocks) + "\"} 1\n";
    return out;
}

}  // namespace hearth
