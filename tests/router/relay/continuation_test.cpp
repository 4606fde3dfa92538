// Streams that outlive their node: what heirs are asked, and what the client sees meanwhile.
#include "tests/router/fleet.h"

namespace hearth {
namespace {

// A node that writes `events`, then ends its answer as told.
struct Script {
    enum class End { kWhole, kDies, kStalls, kEndsEarly } end = End::kWhole;
    std::string events;
    std::string turn = "the turn";
};

Task<void> play(Script script, ServerExchange& exchange) {
    HeaderList headers{{"content-type", "text/event-stream"}};
    if (!script.turn.empty()) headers.emplace_back("hearth-turn", script.turn);
    (void)co_await exchange.start_stream(200, std::move(headers));
    (void)co_await exchange.write(script.events);
    if (script.end == Script::End::kStalls) (void)co_await exchange.wait_client_gone();
    if (script.end == Script::End::kDies || script.end == Script::End::kStalls) {
        exchange.abort();
        co_return;
    }
    (void)co_await exchange.finish_stream();
}

const std::string kFirst = "data: role\n\n: 1 2\ndata: a\n\n: 3\nda";
const std::string kRest = ": 3\ndata: b\n\n:end\ndata: end\n\ndata: [DONE]\n\n";
const std::string kShown = "data: role\n\ndata: a\n\ndata: b\n\ndata: end\n\ndata: [DONE]\n\n";

class ContinuationTest : public RouterTest {
  protected:
    // The first node that is asked plays the first script, and so on; the last is repeated.
    void play_in_turn(std::vector<Script> scripts) {
        scripts_ = std::move(scripts);
        for (const auto& node : nodes_)
            node->behaviour = [this](FakeNode& self, ServerExchange& exchange) -> Task<void> {
                asked_.push_back(self.turns.back());
                const std::size_t n = std::min(asked_.size(), scripts_.size()) - 1;
                const Script script = scripts_[n];
                if (script.events.empty()) {
                    HeaderList headers;
                    (void)co_await exchange.respond(409, std::move(headers), "{}");
                    co_return;
                }
                co_await play(script, exchange);
            };
    }

    std::vector<Script> scripts_;
    std::vector<NodeRequest> asked_;
};

TEST_F(ContinuationTest, AnHeirGoesOnBehindWhatWasDelivered) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, kFirst}, {Script::End::kWhole, kRest}});
    const Reply reply = post(
        "s1", kTurn,
        {{"hearth-continue", "forged"}, {"hearth-forced-bytes", "9"}, {"x-request-id", "id-1"}});
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.whole);
    EXPECT_EQ(reply.body, kShown);
    EXPECT_EQ(reply.headers.count("hearth-turn"), 0u);
    ASSERT_EQ(asked_.size(), 2u);
    EXPECT_EQ(asked_[0].header("hearth-continuable"), "2");
    EXPECT_EQ(asked_[0].header("hearth-continue"), "");
    EXPECT_EQ(asked_[0].header("hearth-forced-bytes"), "");
    EXPECT_EQ(asked_[1].header("hearth-continue"), "the turn");
    EXPECT_EQ(asked_[1].header("hearth-forced-bytes"), "4");
    EXPECT_EQ(asked_[1].body, std::string(" 1 2") + kTurn);
    EXPECT_EQ(asked_[1].header("hearth-request-id"), "id-1");
    EXPECT_EQ(metric("hearth_router_streams_continued_total", "cause=\"node_lost\""), 1);
    EXPECT_EQ(metric("hearth_router_aborted_requests_total"), 0);
    EXPECT_EQ(metric("hearth_router_retries_total", "reason=\"node_lost\""), 0);
}

TEST_F(ContinuationTest, HeirsOfHeirsGoOnToo) {
    start_with_store(4);
    play_in_turn({{Script::End::kDies, kFirst},
                  {Script::End::kEndsEarly, ": 3\ndata: b\n\n:end\ndata: e"},
                  {Script::End::kWhole, ":end\ndata: end\n\ndata: [DONE]\n\n"}});
    EXPECT_EQ(post("s1").body, kShown);
    ASSERT_EQ(asked_.size(), 3u);
    EXPECT_EQ(asked_[2].body, std::string(" 1 2 3") + kTurn);
}

TEST_F(ContinuationTest, EventsThatBelongTogetherAreDeliveredTogether) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, "data: role\n\n:group 2\n: 1 2\ndata: a\n\ndata: b"},
                  {Script::End::kDies, ":group 2\n: 1 2\ndata: a\n\ndata: b\n\n:group 2\n: 3\nda"},
                  {Script::End::kWhole, ":end\ndata: end\n\ndata: [DONE]\n\n"}});
    EXPECT_EQ(post("s1").body, kShown);
    ASSERT_EQ(asked_.size(), 3u);
    EXPECT_EQ(asked_[1].body, kTurn);
    EXPECT_EQ(asked_[2].body, std::string(" 1 2") + kTurn);
    EXPECT_EQ(asked_[2].header("hearth-last-event"), "");
}

// Events of /v1/responses are named and numbered, and so is the one that says that it broke.
TEST_F(ContinuationTest, AResponseThatBreaksEndsWithItsOwnErrorEvent) {
    start_with_store(2);
    const std::string first =
        ":group 2\nevent: a\ndata: {\"type\":\"a\",\"sequence_number\":0}\n\n"
        "event: b\ndata: {\"type\":\"b\",\"sequence_number\":1}\n\n";
    for (const bool is_ours : {true, false}) {
        asked_.clear();
        play_in_turn({{Script::End::kDies, is_ours ? first : first.substr(9), is_ours ? "t" : ""},
                      {Script::End::kDies, "da"}});
        const Reply reply = run(request(router_->endpoint(), "POST", "/v1/responses",
                                        {{"x-session-id", "s1"}}, R"({"model":"m","input":"x"})"));
        EXPECT_FALSE(reply.whole);
        EXPECT_EQ(asked_.back().header("hearth-last-event"), is_ours ? "1" : "");
        EXPECT_EQ(reply.body.substr(0, first.size() - 9), first.substr(9));
        const std::string last = reply.body.substr(first.size() - 9);
        const std::string front = "event: error\ndata: {\"message\":\"";
        EXPECT_EQ(last.substr(0, front.size()), front) << last;
        const std::string number = is_ours ? "2" : "0";
        for (const std::string& part :
             {std::string("\"type\":\"error\""), "\"sequence_number\":" + number + ",",
              std::string("\"error\":{\"message\":"), std::string("\"code\":\"node_lost\"")})
            EXPECT_NE(last.find(part), std::string::npos) << part << last;
        EXPECT_TRUE(last.ends_with("}}\n\n")) << last;
    }
}

TEST_F(ContinuationTest, AnHeirThatCannotIsPassedOver) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, kFirst}, {}, {Script::End::kWhole, kRest}});
    EXPECT_EQ(post("s1").body, kShown);
}

TEST_F(ContinuationTest, AWholeEndNeedsNoHeirEvenIfTheNodeDiesThen) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, "data: role\n\n: 1 2\ndata: a\n\n" + kRest}});
    const Reply reply = post("s1");
    EXPECT_EQ(reply.body, kShown);
    EXPECT_TRUE(reply.whole);
    EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(ContinuationTest, ATurnThatANodeGaveUpGoesOnElsewhere) {
    start_with_store(3);
    const std::string lost =
        "data: role\n\n: 1 2\ndata: a\n\n:lost\ndata: {\"error\":{\"message\":\"draining\"}}\n\n";
    play_in_turn({{Script::End::kWhole, lost}, {Script::End::kWhole, kRest}});
    EXPECT_EQ(post("s1").body, kShown);
    EXPECT_EQ(metric("hearth_router_streams_continued_total", "cause=\"given_up\""), 1);
}

TEST_F(ContinuationTest, ASilentNodesStreamGoesOnElsewhere) {
    config_.idle_stream_timeout_ms = 30;
    start_with_store(3);
    play_in_turn({{Script::End::kStalls, kFirst}, {Script::End::kWhole, kRest}});
    EXPECT_EQ(post("s1").body, kShown);
    EXPECT_EQ(metric("hearth_router_streams_continued_total", "cause=\"stalled\""), 1);
}

TEST_F(ContinuationTest, BeforeTheFirstEventTheTurnIsBegunAgain) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, "data: ro"},
                  {Script::End::kWhole, "data: role\n\n: 1 2\ndata: a\n\n" + kRest}});
    EXPECT_EQ(post("s1").body, kShown);
    ASSERT_EQ(asked_.size(), 2u);
    EXPECT_EQ(asked_[1].header("hearth-continue"), "");
    EXPECT_EQ(asked_[1].body, kTurn);
    EXPECT_EQ(metric("hearth_router_retries_total", "reason=\"node_lost\""), 1);
}

TEST_F(ContinuationTest, WithNobodyLeftTheClientGetsAnErrorEvent) {
    start_with_store(2);
    play_in_turn({{Script::End::kDies, kFirst}, {Script::End::kDies, ": 3\nda"}});
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 200);
    EXPECT_FALSE(reply.whole);
    const std::string shown = "data: role\n\ndata: a\n\ndata: {\"error\":{";
    EXPECT_EQ(reply.body.substr(0, shown.size()), shown);
    EXPECT_NE(reply.body.find("\"code\":\"node_lost\""), std::string::npos);
    EXPECT_EQ(metric("hearth_router_aborted_requests_total", "reason=\"node_lost\""), 1);
    EXPECT_EQ(metric("hearth_router_node_in_flight"), 0);
}

TEST_F(ContinuationTest, ARequestThatIsNotAtHandAnyMoreCannotGoOn) {
    start_with_store(3);
    play_in_turn({{Script::End::kDies, kFirst}, {Script::End::kWhole, kRest}});
    std::string body = kTurn;
    body.insert(body.size() - 1, ",\"pad\":\"" + std::string(2 << 20, 'x') + "\"");
    const Reply reply = post("s1", body);
    EXPECT_FALSE(reply.whole);
    EXPECT_NE(reply.body.find("\"code\":\"node_lost\""), std::string::npos);
    EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(ContinuationTest, IdleStreamsGetHeartbeatsIfAsked) {
    config_.heartbeat_ms = 20;
    config_.idle_stream_timeout_ms = 110;
    start_with_store(1);
    play_in_turn({{Script::End::kStalls, "data: 1\n\n", ""}});
    const Reply reply = post("s1");
    const std::string beats = "data: 1\n\n: hearth\n\n: hearth\n\n: hearth\n\n";
    EXPECT_EQ(reply.body.substr(0, beats.size()), beats);
    EXPECT_NE(reply.body.find("\"code\":\"node_timeout\""), std::string::npos);
}

}  // namespace
}  // namespace hearth
