// make_ref_backend: plain loops with wide accumulators; the oracle that the fast backends are
// tested against, and a readable statement of what each op computes.
#pragma once

#include <memory>

#include "engine/kernels/ops.h"

namespace hearth::engine {

std::unique_ptr<Backend> make_ref_backend();

}  // namespace hearth::engine
