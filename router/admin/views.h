// Views: what the admin API shows, as JSON. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "router/admin/decision_log.h"
#include "router/admin/history.h"
#include "router/members/membership.h"
#include "router/placement/explain.h"
#include "router/placement/what_if.h"

namespace hearth {

// Ids and addresses come from Redis and may hold any bytes: what is no ASCII text shows as '?'.
std::string shown(std::string_view text);

boost::json::object view(const HitHistory& history);
boost::json::object view(const Members& members, const std::string& cluster, bool directory_up);
// `source`: where the key came from; empty = the caller gave the session itself.
boost::json::object view(const Explanation& explanation, std::string_view source);
boost::json::object view(const WhatIf& answer, std::string_view sessions_from);
boost::json::array view(const std::vector<PastTurn>& turns);

// The reason of a decision as a sentence with its numbers, for people.
std::string why(const Explanation& explanation);

}  // namespace hearth
