// Kept responses as text, to go from node to node with the KV of their session.
#pragma once

#include <string>
#include <string_view>

#include "cachenode/api/response_store.h"

namespace hearth {

// {"responses":[...]}; empty if there are none.
std::string kept_text(const ResponseStore::Batch& batch);

// Keeps what kept_text() wrote on another node, under `salt`. False if `text` is something else or
// holds a response of another session: then nothing of it is kept.
bool keep_text(std::string_view text, const SessionKey& session, const std::string& salt,
               ResponseStore& out);

}  // namespace hearth
