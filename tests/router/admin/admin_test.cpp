// The admin API over real sockets: what it says is what the next turn does.
#include "router/admin/admin.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "common/base/log.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

namespace json = boost::json;

class AdminTest : public RouterTest {
  protected:
    Reply call(const std::string& method, const std::string& target, const std::string& body = "",
               HeaderList headers = {}) {
        return run(request(router_->admin_endpoint(), method, target, std::move(headers), body));
    }
    json::object good(const std::string& method, const std::string& target,
                      const std::string& body = "") {
        const Reply reply = call(method, target, body);
        EXPECT_EQ(reply.status, 200) << target << ": " << reply.body;
        boost::system::error_code failed;
        const json::value value = json::parse(reply.body, failed);
        EXPECT_TRUE(!failed && value.is_object()) << reply.body;
        return value.is_object() ? value.as_object() : json::object();
    }
    void bad(const std::string& method, const std::string& target, const std::string& body,
             int status, const std::string& message) {
        const Reply reply = call(method, target, body);
        EXPECT_EQ(reply.status, status) << target << " " << body << ": " << reply.body;
        EXPECT_NE(reply.body.find(message), std::string::npos) << target << ": " << reply.body;
    }
    static std::string text(const json::object& object, const char* key) {
        const json::value* value = object.if_contains(key);
        return value && value->is_string() ? std::string(value->as_string()) : "-";
    }
};

TEST_F(AdminTest, ExplainsWhereTheNextTurnGoes) {
    start_with_store(4);
    for (int i = 0; i < 40; ++i) {
        const std::string key = "chat " + std::to_string(i);
        const json::object told =
            good("GET", "/admin/v1/explain?source=header&key=chat+" + std::to_string(i));
        const Reply turn = post(key);
        EXPECT_EQ(text(told, "node"), turn.route("node")) << key;
        EXPECT_EQ(text(told, "reason"), turn.route("reason")) << key;
        EXPECT_EQ(told.at("order").as_array().size(), 4u);
        EXPECT_EQ(told.at("first_turn").as_bool(), true);
    }
}

TEST_F(AdminTest, ExplainsAWholeRequest) {
    start_static(3);
    const json::object by_header =
        good("POST", "/admin/v1/explain", R"({"headers":{"X-Session-Id":"a"}})");
    EXPECT_EQ(text(by_header, "key_source"), "header");
    EXPECT_EQ(text(by_header, "node"), post("a").route("node"));
    const std::string asked = std::string(R"({"body":)") + kTurn + "}";
    const json::object by_anchor = good("POST", "/admin/v1/explain", asked);
    EXPECT_EQ(text(by_anchor, "key_source"), "anchor");
    EXPECT_EQ(text(by_anchor, "node"), post("").route("node"));
    bad("POST", "/admin/v1/explain", "{}", 400, "body: is required");
    bad("POST", "/admin/v1/explain", R"({"headers":{"a b":"c"}})", 400, "headers: ");
    bad("POST", "/admin/v1/explain", R"({"heders":{}})", 400, "unknown field 'heders'");
    bad("POST", "/admin/v1/explain", "[", 400, "JSON object");
}

TEST_F(AdminTest, RefusesOddQuestions) {
    start_static(1);
    bad("GET", "/admin/v1/explain", "", 400, "key: is required");
    bad("GET", "/admin/v1/explain?key=xyz", "", 400, "32 hex digits");
    bad("GET", "/admin/v1/explain?key=a&source=nose", "", 400, "unknown source 'nose'");
    bad("GET", "/admin/v1/explain?key=a&sauce=header", "", 400, "unknown parameter 'sauce'");
    bad("GET", "/admin/v1/explain?source=header&key=" + std::string(257, 'k'), "", 400,
        "256 bytes");
    bad("POST", "/admin/v1/what-if", "{}", 400, "nothing to weigh");
    bad("POST", "/admin/v1/what-if", R"({"remove":["node-9"]})", 400, "node-9");
    bad("POST", "/admin/v1/what-if", R"({"add":[1]})", 400, "add: ");
    bad("PUT", "/admin/v1/log-level", R"({"level":"loud"})", 400, "debug, info, warn, error");
    bad("POST", "/admin/v1/config/reload", "", 422, "old settings stand");
    bad("GET", "/admin/v1/nothing", "", 404, "not_found");
    const Reply wrong = call("DELETE", "/admin/v1/config");
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(wrong.headers.at("allow"), "GET");
}

TEST_F(AdminTest, WhatIfTellsWhatARemovalMoves) {
    start_static(4);
    const json::object told = good("POST", "/admin/v1/what-if", R"({"remove":["node-2"]})");
    EXPECT_EQ(text(told, "sessions_from"), "sample");
    EXPECT_NEAR(told.at("sessions_moved").as_double(), 0.25, 0.01);
    std::map<std::string, std::string> before;
    for (int i = 0; i < 200; ++i) {
        const std::string key = std::to_string(i);
        before[key] = post(key).route("node");
    }
    node("node-2").stop();
    for (const auto& [key, node_id] : before) {
        if (node_id == "node-2") continue;
        EXPECT_EQ(post(key).route("node"), node_id) << key;
    }
}

TEST_F(AdminTest, ShowsTheLastTurnsAndNoKey) {
    start_with_store(2);
    post("secret-key");
    post("secret-key");
    const json::object told = good("GET", "/admin/v1/sessions/secret-key?source=header");
    const json::array& turns = told.at("turns").as_array();
    ASSERT_EQ(turns.size(), 2u);
    EXPECT_EQ(text(turns[1].as_object(), "key_source"), "header");
    EXPECT_EQ(turns[1].as_object().at("status").as_int64(), 200);
    const std::string hex = text(told, "session");
    EXPECT_EQ(hex.size(), 32u);
    EXPECT_EQ(json::serialize(told).find("secret-key"), std::string::npos);
    EXPECT_EQ(good("GET", "/admin/v1/sessions/" + hex).at("turns").as_array().size(), 2u);
}

TEST_F(AdminTest, PinsASession) {
    start_with_store(3);
    const std::string at = "/admin/v1/sessions/a/pin?source=header";
    bad("PUT", at, R"({"node":"node-9"})", 404, "no member");
    for (const std::string wanted : {"node-1", "node-2", "node-3"}) {
        good("PUT", at, R"({"node":")" + wanted + "\"}");
        router_.reset();  // Another router, which remembers nothing.
        start_router(&store_);
        wait_ready();
        const Reply turn = post("a");
        EXPECT_EQ(turn.route("node"), wanted);
        EXPECT_EQ(turn.route("reason"), "pinned");
    }
    EXPECT_TRUE(good("DELETE", at).at("pin").is_null());
}

TEST_F(AdminTest, WantsItsToken) {
    config_.admin_token = "open sesame";
    start_static(1);
    EXPECT_EQ(call("GET", "/admin/v1/nodes").status, 401);
    EXPECT_EQ(call("GET", "/admin/v1/nodes", "", {{"authorization", "Bearer open"}}).status, 401);
    EXPECT_EQ(call("GET", "/admin/v1/nodes", "", {{"authorization", "Bearer open sesame"}}).status,
              200);
}

TEST_F(AdminTest, SetsTheLogLevel) {
    start_static(1);
    const log::Level before = log::level();
    EXPECT_EQ(text(good("PUT", "/admin/v1/log-level", R"({"level":"error"})"), "level"), "error");
    EXPECT_EQ(log::level(), log::Level::kError);
    EXPECT_EQ(text(good("GET", "/admin/v1/log-level"), "level"), "error");
    log::set_level(before);
}

}  // namespace
}  // namespace hearth
