// The header names that router, node and clients share.
#pragma once

#include <string_view>

namespace hearth::header {

constexpr std::string_view kSession = "hearth-session";  // 32 hex digits; set by the router only.
constexpr std::string_view kRequestId = "hearth-request-id";
constexpr std::string_view kDeadline = "hearth-deadline";  // Milliseconds left, decimal.
constexpr std::string_view kTenant = "hearth-tenant";      // Tenant salt, hex; router only.
constexpr std::string_view kRoute = "hearth-route";        // node=<id>;reason=<r>;key=<source>
constexpr std::string_view kMovedTo = "hearth-moved-to";   // Node id that now holds the session.
constexpr std::string_view kEpoch = "hearth-epoch";        // Of the binding the router acts on.
// Seconds by which a chat that came back counts as younger at eviction; of its tenant. Router only.
constexpr std::string_view kFollowUpBonus = "hearth-follow-up-bonus";
constexpr std::string_view kKeep = "hearth-keep";  // Seconds of a soft pin of a turn's KV.
// Answer: the oldest turns that an over-long chat was served without. messages=<n>;tokens=<n>
constexpr std::string_view kTruncated = "hearth-truncated";
// Answer: fields of the body that were read by nobody, so that a misspelt one shows.
constexpr std::string_view kIgnoredFields = "x-ignored-fields";
constexpr std::string_view kNode = "hearth-node";  // Node id that answered.

// Streams that outlive their node. All of these are between router and node only.
// Request: asks for hearth-turn and for the token ids of the stream, as comment lines. "2": the
// router knows kGroupNote too; without it streams that need it cannot be continued.
constexpr std::string_view kContinuable = "hearth-continuable";
constexpr std::string_view kKnowsGroups = "2";
// Answer: what an heir must know of the turn to go on with it; opaque to the router.
constexpr std::string_view kTurn = "hearth-turn";
// Request: the hearth-turn of a stream that broke, to be gone on with ...
constexpr std::string_view kContinue = "hearth-continue";
// ... behind the token ids in the first so many bytes of the body, which the client has already.
constexpr std::string_view kForcedBytes = "hearth-forced-bytes";
// Likewise, where events are numbered: the number of the last that the client has.
constexpr std::string_view kLastEvent = "hearth-last-event";

// The comment lines of a continuable stream, each before its event. ": 12 7" names the ids that the
// event's text comes from; the others say that what follows is the end, or no end at all because
// the node gave the turn up.
constexpr std::string_view kTokensNote = ": ";
// ":group 3": the next so many events, and the ids before the first, are delivered together or not
// at all.
constexpr std::string_view kGroupNote = ":group ";
constexpr std::string_view kEndNote = ":end";
constexpr std::string_view kLostNote = ":lost";

}  // namespace hearth::header
