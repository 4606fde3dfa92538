// Spans reach a collector in OTLP's JSON, and a collector that fails costs no turn.
#include "router/trace/span_exporter.h"

#include <boost/json.hpp>

#include "router/metrics.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

namespace json = boost::json;

TEST(CollectorUrl, HasDefaultsAndRefusesWhatIsNoUrl) {
    const struct {
        const char *url, *host_port, *path;
        bool tls;
    } cases[] = {
        {"http://collector", "collector:4318", "/v1/traces", false},
        {"http://collector:99/", "collector:99", "/v1/traces", false},
        {"https://a.example/otel/v1/traces", "a.example:443", "/otel/v1/traces", true},
        {"http://[::1]", "[::1]:4318", "/v1/traces", false},
    };
    for (const auto& c : cases) {
        const auto url = parse_collector_url(c.url);
        ASSERT_TRUE(url.ok()) << c.url << ": " << url.error().message;
        EXPECT_EQ(url->host_port, c.host_port);
        EXPECT_EQ(url->path, c.path);
        EXPECT_EQ(url->tls, c.tls);
    }
    for (const char* url : {"", "collector:4318", "grpc://c:4317", "http://", "http://c:x",
                            "http://c/a b", "http://c:70000"})
        EXPECT_FALSE(parse_collector_url(url).ok()) << url;
}

class TraceTest : public RouterTest {
  protected:
    void stop_router() {
        finish(router_->drain_and_stop(milliseconds(1'000)));
        router_.reset();
    }
};

TEST_F(TraceTest, ASampledTurnIsASpanOfTheClientsTrace) {
    FakeNode collector(io_, "collector");
    std::string body;
    collector.behaviour = [&body](FakeNode& self, ServerExchange& exchange) -> Task<void> {
        body = self.turns.back().body;
        (void)co_await exchange.respond(200, HeaderList{}, "{}");
    };
    config_.otlp_endpoint = "http://" + collector.address();
    start_with_store(1);
    const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736", parent = "00f067aa0ba902b7";
    const std::string given = "00-" + trace + "-" + parent + "-01";
    const Reply reply = post("s1", kTurn, {{"traceparent", given}, {"tracestate", "vendor=1"}});
    EXPECT_EQ(reply.status, 200);
    stop_router();  // Sends what waits.

    ASSERT_EQ(collector.turns.size(), 1u);
    EXPECT_EQ(collector.turns[0].target, "/v1/traces");
    EXPECT_EQ(collector.turns[0].header("content-type"), "application/json");
    const json::value sent = json::parse(body);
    const json::object& span = sent.at_pointer("/resourceSpans/0/scopeSpans/0/spans/0").as_object();
    EXPECT_EQ(span.at("traceId"), trace.c_str());
    EXPECT_EQ(span.at("parentSpanId"), parent.c_str());
    EXPECT_EQ(span.at("kind"), 2);
    const NodeRequest& turn = nodes_[0]->turns.at(0);
    const std::string own(span.at("spanId").as_string());
    EXPECT_EQ(turn.header("traceparent"), "00-" + trace + "-" + own + "-01");
    EXPECT_EQ(turn.header("tracestate"), "vendor=1");
    EXPECT_EQ(body.find("\"s1\""), std::string::npos) << "the client's session key was told";
    EXPECT_NE(body.find("\"hearth.node\""), std::string::npos);
}

TEST_F(TraceTest, WithoutACollectorATraceIsPassedOnOrBegun) {
    start_with_store(1);
    const std::string given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    post("s1", kTurn, {{"traceparent", given}});
    post("s1", kTurn, {{"traceparent", "nonsense"}, {"tracestate", "vendor=1"}});
    EXPECT_EQ(nodes_[0]->turns.at(0).header("traceparent"), given);
    EXPECT_EQ(nodes_[0]->turns.at(1).header("traceparent").size(), given.size());
    EXPECT_EQ(nodes_[0]->turns.at(1).header("tracestate"), "");
}

TEST_F(TraceTest, ACollectorThatIsGoneCostsNoTurnAndNoEndlessEnd) {
    config_.otlp_endpoint = "http://127.0.0.1:1";
    config_.trace_sample = 1;
    start_with_store(1);
    EXPECT_EQ(post("s1").status, 200);
    stop_router();
}

TEST(SpanExporter, WhatFindsNoRoomIsDroppedAndCounted) {
    RouterMetrics metrics;
    SpanExporter exporter(metrics);
    for (std::size_t i = 0; i < SpanExporter::kQueueMax + 3; ++i) exporter.add(Span{});
    EXPECT_EQ(exporter.waiting(), SpanExporter::kQueueMax);
    const std::string text = metrics.expose(Members{}, true);
    EXPECT_NE(text.find("hearth_router_spans_total{result=\"dropped\"} 3"), std::string::npos);
}

}  // namespace
}  // namespace hearth
