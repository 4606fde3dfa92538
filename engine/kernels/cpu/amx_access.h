// amx_access: whether this machine has matrix tiles, lets us have them, and computes with them what
// vectors compute.
#pragma once

namespace hearth::engine::cpu {

// Asks the processor, then Linux for the tiles' 8 KiB of state a thread (5.16 and later; for the
// whole process, for good), then compares a product with the vectors' bit by bit. Any thread; the
// work is done once. Needs the AVX-512 of avx512vnni.
bool amx_is_usable();

}  // namespace hearth::engine::cpu
