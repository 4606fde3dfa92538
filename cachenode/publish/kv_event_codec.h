// Batches of KV events as vLLM writes them: MessagePack of its EventBatch
// (distributed/kv_events.py).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cachenode/publish/kv_event_log.h"

namespace hearth {

// How the events of a batch are written: maps with names since vLLM 0.24 (its pull request 42892),
// arrays by position before that. The batch itself is an array in both.
enum class KvEventEncoding { kMap, kArray };

// [unix seconds, [events], data-parallel rank 0]. Our one tier that the engine reads is told as
// medium "GPU", on CPU nodes too: it is what readers take for the first tier.
std::string encode_kv_events(double unix_seconds, std::span<const KvEvent> events,
                             KvEventEncoding encoding);

// 8 bytes, the highest first: a batch's number on the wire.
std::string sequence_bytes(std::uint64_t sequence);

}  // namespace hearth
