// GET and DELETE of kept responses: which nodes are asked, in which order, and what the client
// gets.
#include "router/relay/kept_responses.h"

#include "common/wire/response_id.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

class KeptResponsesTest : public RouterTest {
  protected:
    // Each node answers with its status; 200 with a body of its own.
    void start(const std::vector<int>& statuses) {
        start_with_store(static_cast<int>(statuses.size()));
        for (std::size_t i = 0; i < statuses.size(); ++i)
            nodes_[i]->behaviour = [this, status = statuses[i]](FakeNode& self,
                                                                ServerExchange& exchange) {
                return answer(self, exchange, status);
            };
    }
    Task<void> answer(FakeNode& self, ServerExchange& exchange, int status) {
        asked_.push_back(self.id);
        HeaderList headers;
        const std::string body = "{\"of\":\"" + self.id + "\"}";
        (void)co_await exchange.respond(status, std::move(headers), body);
    }
    Reply call(const std::string& method, const std::string& path) {
        return run(request(router_->endpoint(), method, path, HeaderList{}, ""));
    }
    static void expect_error(const Reply& reply, int status, const std::string& code) {
        EXPECT_EQ(reply.status, status) << reply.body;
        EXPECT_NE(reply.body.find("\"code\":\"" + code + "\""), std::string::npos) << reply.body;
    }
    int asked(const std::string& node) const {
        return static_cast<int>(std::count(asked_.begin(), asked_.end(), node));
    }

    std::vector<std::string> asked_;
    const SessionKey session_{1, 2};
    const std::string target_ = "/v1/responses/" + response_id(session_, 3);
};

TEST_F(KeptResponsesTest, PathsThatNameOne) {
    EXPECT_EQ(kept_response_in("/v1/responses/resp_1"), "resp_1");
    for (const char* path : {"/v1/responses", "/v1/responses/", "/v1/responses/a/cancel",
                             "/v1/responsesx", "/v2/responses/a"})
        EXPECT_EQ(kept_response_in(path), "") << path;
}

TEST_F(KeptResponsesTest, GetStopsAtTheFirstThatHasIt) {
    start({404, 200, 404});
    const Reply reply = get(target_ + "?include=x");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, R"({"of":"node-2"})");
    EXPECT_EQ(asked_.back(), "node-2");
    EXPECT_EQ(node("node-2").turns[0].target, target_ + "?include=x");
    EXPECT_EQ(asked("node-2"), 1);
}

TEST_F(KeptResponsesTest, TheSessionsNodeIsAskedFirst) {
    start({200, 200, 200});
    for (const char* holder : {"node-1", "node-2", "node-3"}) {
        SessionRecord record;
        record.node_id = holder;
        record.generation = "1";
        record.epoch = 1;
        const SessionKey session{7, static_cast<std::uint64_t>(holder[5])};
        ASSERT_TRUE(run(store_.publish_session(session, record, milliseconds(60'000))).ok());
        asked_.clear();
        EXPECT_EQ(get("/v1/responses/" + response_id(session, 3)).status, 200);
        EXPECT_EQ(asked_, std::vector<std::string>{holder});
    }
}

TEST_F(KeptResponsesTest, DeleteAsksAll) {
    start({404, 200, 200});
    EXPECT_EQ(call("DELETE", target_).status, 200);
    EXPECT_EQ(asked_.size(), 3u);
    for (const auto& node : nodes_) EXPECT_EQ(node->turns.back().method, "DELETE");
}

TEST_F(KeptResponsesTest, NobodyHasIt) {
    start({404, 405, 404});
    expect_error(get(target_), 404, "response_not_found");
    expect_error(call("DELETE", target_), 404, "response_not_found");
    EXPECT_EQ(asked_.size(), 6u);
    asked_.clear();
    // Hearth's nodes have none of another server's.
    expect_error(get("/v1/responses/resp_other"), 404, "response_not_found");
    EXPECT_TRUE(asked_.empty());
    expect_error(call("POST", target_), 405, "method_not_allowed");
    expect_error(get("/v1/responses/"), 404, "unknown_url");
}

TEST_F(KeptResponsesTest, SilenceIsNoAbsence) {
    start({404, 500, 404});
    expect_error(get(target_), 502, "node_lost");
    expect_error(call("DELETE", target_), 502, "node_lost");
}

TEST_F(KeptResponsesTest, WhatIsNotDeletedEverywhereIsNotDeleted) {
    start({200, 500, 200});
    expect_error(call("DELETE", target_), 502, "node_lost");
    EXPECT_EQ(asked_.size(), 3u);
}

TEST_F(KeptResponsesTest, ARefusalOfTheQuestionIsPassedOn) {
    start({400, 400, 400});
    EXPECT_EQ(get(target_ + "?stream=true").status, 400);
    EXPECT_EQ(asked_.size(), 1u);
}

}  // namespace
}  // namespace hearth
