// What is told of a request that is over: access log, metrics, span.
#pragma once

#include "router/relay/relay.h"

namespace hearth {

// Writes the access log line and the metrics.
void account(RouterCore& core, const TurnFacts& facts, MonotonicNs now);

// The span of a turn that ends now.
Span span_of(const RouterCore& core, const TurnFacts& facts, const SessionKey& session);

}  // namespace hearth
