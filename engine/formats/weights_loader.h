// load_weights: named tensors of any format to the engine's int8 matrices and float vectors.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"
#include "engine/formats/fingerprint.h"
#include "engine/formats/tensor.h"
#include "engine/model/config.h"
#include "engine/model/weights.h"

namespace hearth::engine {

// What a format calls each weight. A layer's names follow `layer` + its number + ".".
struct TensorNames {
    const char* embedding;
    const char* final_norm;
    const char* lm_head;
    const char* layer;
    const char *attention_norm, *q, *k, *v, *output, *ffn_norm, *gate, *up, *down;  // + ".weight"
    // Where one matrix holds Q, K and V, or gate and up, one after another (Phi-3). In GGUF the
    // latter has up's name, and there is no gate.
    const char *fused_qkv, *fused_gate_up;
    const char *q_norm, *k_norm, *post_attention_norm, *post_ffn_norm;
};
extern const TensorNames kGgufNames;
extern const TensorNames kHuggingFaceNames;
extern const TensorNames kHuggingFacePostNormNames;  // Four norms a layer: other names for two.

// True if the checkpoint's first layer adds a bias to Q.
bool has_qkv_bias(const TensorTable& tensors, const TensorNames& names);

struct WeightsRequest {
    std::string file;  // For messages.
    const TensorNames* names = nullptr;
    std::vector<std::string> ignored;  // Ends of names of tensors that the model does not need.
    bool read_bytes = true;         // False: names, types and shapes are checked, bytes not read.
    bool keep_floats = false;       // QuantMatrix::values too.
    float norm_offset = 0.0f;       // Added to every gain of a norm.
    bool scaled_embedding = false;  // Embeddings are multiplied by sqrt(hidden).
};

// Quantises row by row; needs one row of floats beside its result. Adds name, type and shape of
// every tensor to the fingerprint, and its bytes if they are read. kCorrupt: a tensor is missing,
// its shape contradicts `config` (which must be valid), or it holds a number that is not finite.
// kUnsupported: a tensor that the architecture has no place for; leaving it out would be wrong.
Result<Weights> load_weights(const TensorTable& tensors, const ModelConfig& config,
                             const WeightsRequest& request, Fingerprint& fingerprint);

}  // namespace hearth::engine
