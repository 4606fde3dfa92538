// Admission through a router: keys, tenants kept apart, limits, and the queue before a full fleet.
#include "router/admission/admission.h"

#include "tests/router/fleet.h"

namespace hearth {
namespace {

constexpr const char* kPath = "/v1/chat/completions";

class AdmissionTest : public RouterTest {
  protected:
    TenantSettings& add_tenant(const std::string& name) {
        TenantSettings tenant;
        tenant.name = name;
        tenant.keys = {hash_api_key(name + "-key")};
        config_.tenants.push_back(tenant);
        return config_.tenants.back();
    }
    Reply ask(const std::string& tenant, HeaderList headers = {}, const std::string& body = kTurn) {
        headers.emplace_back("authorization", "Bearer " + tenant + "-key");
        return post("s", body, std::move(headers));
    }
    const NodeRequest& last_turn() { return nodes_[0]->turns.back(); }

    // Turns that a node holds until the gate opens.
    void hold_turns() {
        nodes_[0]->behaviour = [this](FakeNode& node, ServerExchange& exchange) -> Task<void> {
            co_await gate_.wait();
            co_await FakeNode::answer_json(node, exchange);
        };
    }
    std::shared_ptr<TaskOutcome<Reply>> start_turn(const std::string& session,
                                                   HeaderList headers = {}) {
        headers.emplace_back("x-session-id", session);
        return start_task(io_, request(router_->endpoint(), "POST", kPath, headers, kTurn));
    }
    void expect_all_at_rest() {
        wait_metric("hearth_router_requests_in_flight", 0, "chat_completions");
        wait_metric("hearth_router_node_in_flight", 0);
        wait_metric("hearth_router_queue_depth", 0);
    }

    Gate gate_{io_};
};

TEST_F(AdmissionTest, WithoutTenantsEverybodyIsServed) {
    start_static(1);
    EXPECT_EQ(post("s", kTurn, {{"authorization", "Bearer x"}, {"hearth-tenant", "ab"}}).status,
              200);
    EXPECT_EQ(last_turn().header("authorization"), "Bearer x");
    EXPECT_EQ(last_turn().header("hearth-tenant"), "");
}

TEST_F(AdmissionTest, OnlyKnownKeysComeIn) {
    add_tenant("acme");
    start_static(1);
    const Reply none = post("s");
    EXPECT_EQ(none.status, 401);
    EXPECT_EQ(none.headers.at("www-authenticate"), "Bearer");
    for (const HeaderList& headers :
         {HeaderList{{"authorization", "Bearer wrong"}}, HeaderList{{"authorization", "acme-key"}},
          HeaderList{{"x-api-key", "acme"}}, HeaderList{{"authorization", "Bearer "}}}) {
        const Reply refused = post("s", kTurn, headers);
        EXPECT_EQ(refused.status, 401);
        EXPECT_NE(refused.body.find("\"code\":\"invalid_api_key\""), std::string::npos)
            << refused.body;
        EXPECT_NE(refused.body.find("\"type\":\"invalid_request_error\""), std::string::npos);
        EXPECT_EQ(refused.body.find("wrong"), std::string::npos);
    }
    EXPECT_TRUE(nodes_[0]->turns.empty());
    for (const HeaderList& headers : {HeaderList{{"authorization", "Bearer acme-key"}},
                                      HeaderList{{"authorization", "bearer  acme-key"}},
                                      HeaderList{{"x-api-key", "acme-key"}}}) {
        EXPECT_EQ(post("s", kTurn, headers).status, 200);
        EXPECT_EQ(last_turn().header("authorization") + last_turn().header("x-api-key"), "");
    }
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "unauthorized"), 5);
    EXPECT_EQ(metric("hearth_router_tenant_requests_total", "tenant=\"acme\""), 3);
}

TEST_F(AdmissionTest, TenantsAreKeptApart) {
    add_tenant("acme");
    add_tenant("zeta");
    start_static(1);
    ASSERT_EQ(ask("acme", {{"hearth-tenant", "00"}}).status, 200);
    const NodeRequest acme = last_turn();
    ASSERT_EQ(ask("zeta").status, 200);
    const NodeRequest zeta = last_turn();
    EXPECT_EQ(acme.header("hearth-tenant"), derive_tenant_salt("test", "acme"));
    EXPECT_EQ(acme.header("hearth-tenant").size(), 32u);
    EXPECT_EQ(zeta.header("hearth-tenant"), derive_tenant_salt("test", "zeta"));
    EXPECT_EQ(acme.header("hearth-session"),
              derive_session_key("test", "acme", KeySource::kHeader, "s").hex());
    EXPECT_NE(acme.header("hearth-session"), zeta.header("hearth-session"));
}

TEST_F(AdmissionTest, NodesGetTheirOwnKeyOrTheClientsIfWanted) {
    add_tenant("acme");
    config_.forward_authorization = true;
    start_static(1);
    EXPECT_EQ(ask("acme").status, 200);
    EXPECT_EQ(last_turn().header("authorization"), "Bearer acme-key");
}

TEST_F(AdmissionTest, AnUpstreamKeyStandsInForTheClients) {
    config_.upstream_api_key = "up";
    start_static(1);
    nodes_[0]->models_key = "Bearer up";
    EXPECT_EQ(post("s", kTurn, {{"authorization", "Bearer mine"}}).status, 200);
    EXPECT_EQ(last_turn().header("authorization"), "Bearer up");
    EXPECT_EQ(get("/v1/models").status, 200);
}

TEST_F(AdmissionTest, TheModelListIsForTenantsToo) {
    add_tenant("acme").models = {"b"};
    start_static(1);
    nodes_[0]->models = R"({"object":"list","data":[{"id":"a"},{"id":"b"}]})";
    EXPECT_EQ(get("/v1/models").status, 401);
    const auto list = [&](const std::string& path) {
        HeaderList headers{{"authorization", "Bearer acme-key"}};
        return run(request(router_->endpoint(), "GET", path, headers, ""));
    };
    EXPECT_EQ(list("/v1/models").body, R"({"object":"list","data":[{"id":"b"}]})");
    EXPECT_EQ(list("/v1/models/a").status, 404);
    EXPECT_EQ(list("/v1/models/b").status, 200);
    EXPECT_EQ(get("/health").status, 200);
}

TEST_F(AdmissionTest, OnlyTheModelsOfTheTenant) {
    add_tenant("acme").models = {"m"};
    add_tenant("zeta");
    start_static(1);
    const std::string other = R"({"messages":[{"role":"user","content":"x"}],"model":"n"})";
    EXPECT_EQ(ask("acme").status, 200);
    EXPECT_EQ(last_turn().body, kTurn);
    const Reply refused = ask("acme", {}, other);
    EXPECT_EQ(refused.status, 403);
    EXPECT_NE(refused.body.find("\"code\":\"model_forbidden\""), std::string::npos);
    EXPECT_EQ(ask("acme", {}, "{}").status, 403);
    EXPECT_EQ(ask("acme", {}, R"({"model":"m","model":"n"})").status, 400);
    EXPECT_EQ(ask("zeta", {}, other).status, 200);
    // Without a header the session's key is looked for in the same bytes.
    const HeaderList key{{"authorization", "Bearer acme-key"}};
    const Reply keyed = post("", R"({"model":"m","prompt_cache_key":"k"})", key);
    EXPECT_EQ(keyed.route("key"), "prompt_cache_key");
    EXPECT_EQ(post("", kTurn, key).route("key"), "anchor");
    EXPECT_EQ(last_turn().body, kTurn);
    EXPECT_EQ(nodes_[0]->turns.size(), 4u);
}

TEST_F(AdmissionTest, RequestsAreLimited) {
    add_tenant("acme").requests_per_second = 0.01;
    add_tenant("zeta");
    start_static(1);
    const Reply first = ask("acme");
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(first.headers.at("x-ratelimit-limit-requests"), "1");
    EXPECT_EQ(first.headers.at("x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(first.headers.at("x-ratelimit-reset-requests"), "1m40s");
    EXPECT_EQ(first.headers.count("x-ratelimit-limit-tokens"), 0u);
    const Reply second = ask("acme");
    EXPECT_EQ(second.status, 429);
    EXPECT_NE(second.body.find("\"code\":\"rate_limit_exceeded\""), std::string::npos);
    EXPECT_NE(second.body.find("\"type\":\"requests\""), std::string::npos);
    EXPECT_EQ(second.headers.at("retry-after"), "100");
    EXPECT_EQ(second.headers.at("x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(ask("zeta").status, 200);
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "rate_limit"), 1);
}

TEST_F(AdmissionTest, TokensAreEstimatedAndThenCounted) {
    add_tenant("acme").tokens_per_minute = 1'000;
    start_static(1);
    nodes_[0]->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"x-ratelimit-limit-tokens", "7"}};
        const std::string body = R"({"usage":{"prompt_tokens":10,"total_tokens":990}})";
        (void)co_await exchange.respond(200, std::move(headers), body);
    };
    const Reply first = ask("acme");
    EXPECT_EQ(first.headers.at("x-ratelimit-limit-tokens"), "1000");
    const int left = std::stoi(first.headers.at("x-ratelimit-remaining-tokens"));
    EXPECT_NEAR(left, 1'000 - static_cast<int>(std::string(kTurn).size() / 4), 2);
    // The answer said more than was thought: nothing is left.
    const Reply second = ask("acme");
    EXPECT_EQ(second.status, 429) << second.headers.at("x-ratelimit-remaining-tokens");
    EXPECT_NE(second.body.find("\"type\":\"tokens\""), std::string::npos);
    EXPECT_EQ(nodes_[0]->turns.size(), 1u);
}

TEST_F(AdmissionTest, TurnsAtOnceAreLimited) {
    add_tenant("acme").concurrency_max = 2;
    start_static(1);
    hold_turns();
    const HeaderList key{{"authorization", "Bearer acme-key"}};
    const auto one = start_turn("1", key);
    const auto two = start_turn("2", key);
    wait_metric("hearth_router_node_in_flight", 2);
    EXPECT_EQ(ask("acme").status, 429);
    gate_.open();
    EXPECT_EQ(finish_task(io_, one).status, 200);
    EXPECT_EQ(finish_task(io_, two).status, 200);
    EXPECT_EQ(ask("acme").status, 200);
    expect_all_at_rest();
}

TEST_F(AdmissionTest, WhoFindsTheFleetFullWaits) {
    config_.in_flight_max = 1;
    start_static(1);
    hold_turns();
    const auto one = start_turn("1");
    wait_metric("hearth_router_node_in_flight", 1);
    const auto two = start_turn("2");
    wait_metric("hearth_router_queue_depth", 1);
    EXPECT_EQ(metric("hearth_router_node_in_flight"), 1);
    gate_.open();
    EXPECT_EQ(finish_task(io_, one).status, 200);
    EXPECT_EQ(finish_task(io_, two).status, 200);
    EXPECT_EQ(metric("hearth_router_queue_duration_seconds_count"), 2);
    expect_all_at_rest();
}

TEST_F(AdmissionTest, InteractiveGoesFirst) {
    TenantSettings& tenant = add_tenant("acme");
    tenant.may_choose_priority = true;
    tenant.priority = Priority::kBatch;
    config_.in_flight_max = 1;
    start_static(1);
    hold_turns();
    const HeaderList batch{{"authorization", "Bearer acme-key"}};
    HeaderList urgent = batch;
    urgent.emplace_back("x-hearth-priority", "interactive");
    const auto held = start_turn("held", batch);
    wait_metric("hearth_router_node_in_flight", 1);
    const auto slow = start_turn("slow", batch);
    wait_metric("hearth_router_queue_depth", 1, "batch");
    const auto fast = start_turn("fast", urgent);
    wait_metric("hearth_router_queue_depth", 1, "interactive");
    gate_.open();
    EXPECT_EQ(finish_task(io_, slow).status, 200);
    ASSERT_EQ(nodes_[0]->turns.size(), 3u);
    EXPECT_EQ(nodes_[0]->turns[1].header("x-session-id"), "fast");
    EXPECT_TRUE(fast->done());
    EXPECT_TRUE(held->done());
}

TEST_F(AdmissionTest, TheQueueIsBoundedInLengthAndTime) {
    config_.in_flight_max = 1;
    config_.queue_max = 1;
    config_.queue_timeout_ms = 300;
    start_static(1);
    hold_turns();
    const auto one = start_turn("1");
    wait_metric("hearth_router_node_in_flight", 1);
    const auto two = start_turn("2");
    wait_metric("hearth_router_queue_depth", 1);
    const Reply three = post("3");
    EXPECT_EQ(three.status, 429);
    EXPECT_NE(three.body.find("\"code\":\"queue_full\""), std::string::npos) << three.body;
    EXPECT_GE(std::stoi(three.headers.at("retry-after")), 1);
    const Reply late = finish_task(io_, two);
    EXPECT_EQ(late.status, 503);
    EXPECT_NE(late.body.find("\"code\":\"queue_timeout\""), std::string::npos) << late.body;
    EXPECT_GE(std::stoi(late.headers.at("retry-after")), 1);
    gate_.open();
    EXPECT_EQ(finish_task(io_, one).status, 200);
    EXPECT_EQ(post("4").status, 200);
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "queue_full"), 1);
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "queue_timeout"), 1);
    expect_all_at_rest();
}

TEST_F(AdmissionTest, WhoLeavesTheQueueIsForgotten) {
    config_.in_flight_max = 1;
    start_static(1);
    hold_turns();
    const auto one = start_turn("1");
    wait_metric("hearth_router_node_in_flight", 1);
    {
        const std::string address = router_->endpoint();
        const auto port =
            static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
        RawClient client(io_, port);
        const std::string body(200, ' ');  // Unread while its client waits.
        run_until_done(io_, client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                                        "x-session-id: 2\r\nContent-Length: 200\r\n\r\n" +
                                        body));
        wait_metric("hearth_router_queue_depth", 1);
    }
    wait_metric("hearth_router_queue_depth", 0);
    gate_.open();
    EXPECT_EQ(finish_task(io_, one).status, 200);
    EXPECT_EQ(post("3").status, 200);
    EXPECT_EQ(nodes_[0]->turns.size(), 2u);
    EXPECT_EQ(metric("hearth_router_requests_total", "code=\"499\""), 1);
    expect_all_at_rest();
}

TEST_F(AdmissionTest, ABodyThatArrivesInTheQueueIsSentWhole) {
    config_.in_flight_max = 1;
    start_static(1);
    hold_turns();
    const auto one = start_turn("1");
    wait_metric("hearth_router_node_in_flight", 1);
    const std::string body = "{\"x\":\"" + std::string(300'000, 'y') + "\"}";
    HeaderList headers{{"x-session-id", "2"}};
    const auto two = start_task(io_, request(router_->endpoint(), "POST", kPath, headers, body));
    wait_metric("hearth_router_queue_depth", 1);
    gate_.open();
    EXPECT_EQ(finish_task(io_, two).status, 200);
    EXPECT_EQ(last_turn().body, body);
}

TEST_F(AdmissionTest, DrainCutsWhoStillWaits) {
    config_.in_flight_max = 1;
    start_static(1);
    hold_turns();
    const auto one = start_turn("1");
    wait_metric("hearth_router_node_in_flight", 1);
    const auto two = start_turn("2");
    wait_metric("hearth_router_queue_depth", 1);
    finish(router_->drain_and_stop(milliseconds(20)));
    EXPECT_EQ(finish_task(io_, two).status, 0);
    router_.reset();
}

TEST_F(AdmissionTest, AReloadKeepsWhatATenantHasUsed) {
    RouterMetrics metrics;
    ManualClock clock;
    Admission admission(io_, clock, metrics);
    add_tenant("acme").requests_per_second = 1;
    admission.follow(std::make_shared<const RouterConfig>(config_));
    RequestHead head;
    head.fields = {{"x-api-key", "acme-key"}};
    const auto charged = [&] {
        Visit visit;
        return !admission.identify(head, visit) && !admission.charge(head, visit);
    };
    EXPECT_TRUE(charged());
    EXPECT_FALSE(charged());
    add_tenant("zeta");
    admission.follow(std::make_shared<const RouterConfig>(config_));
    EXPECT_FALSE(charged());
    clock.advance(kSecond);
    EXPECT_TRUE(charged());
    config_.tenants.clear();
    admission.follow(std::make_shared<const RouterConfig>(config_));
    EXPECT_FALSE(admission.has_tenants());
}

}  // namespace
}  // namespace hearth
