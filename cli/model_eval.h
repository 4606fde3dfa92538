// hearth model eval: what int8 costs, as perplexity of a text beside float's.
#pragma once

#include <cstdint>
#include <string>

namespace hearth::cli {

struct EvalOptions {
    std::string model;          // As obtain_model() takes it.
    std::string text;           // A file of UTF-8 text.
    std::int32_t window = 512;  // At most the model's context.
    std::int32_t max_tokens = 4096;
    std::int32_t threads = 0;
    std::string backend = "auto";
    bool json = false;
};

// Prints a line for each kind of weights (or one JSON object); returns the exit code. The text is
// cut into windows, each read from an empty cache and begun with BOS where the model wants one;
// every token but a window's first is predicted. Blocking, minutes: float needs four bytes a
// weight.
int eval_model(const EvalOptions& options);

}  // namespace hearth::cli
