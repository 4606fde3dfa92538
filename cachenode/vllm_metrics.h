// vLLM's names for what a node measures, for autoscalers, routers and dashboards that read those.
#pragma once

#include <cstdint>
#include <string>

namespace hearth {

struct VllmFacts {
    std::string model;
    std::int64_t block_tokens = 0, blocks = 0;  // Of the page pool.
};

// Series to append to `exposition`, a node's own in Prometheus' text format: the same values under
// the names and labels (model_name, engine) of vLLM 0.11, summed over labels that vLLM has not.
// Pure.
std::string vllm_metrics(const std::string& exposition, const VllmFacts& facts);

}  // namespace hearth
