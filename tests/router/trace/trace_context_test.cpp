// Traces are kept when their header is right, and begun anew when it is not.
#include "router/trace/trace_context.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kSpan = "00f067aa0ba902b7";

TraceContext trace_from(const std::vector<std::string>& parents, bool records = false,
                        double sample = 1) {
    Rng rng(7);
    RequestHead head;
    for (const std::string& value : parents) head.fields.push_back({"Traceparent", value});
    return trace_of(head, records, sample, rng);
}

std::string parent_of(const TraceContext& trace) {
    const TraceContext::Text text = trace.traceparent();
    return {text.data(), text.size()};
}

TEST(TraceContext, AValidParentIsKeptAsItIs) {
    const TraceContext trace = trace_from({"00-" + kTrace + "-" + kSpan + "-01"});
    EXPECT_EQ(parent_of(trace), "00-" + kTrace + "-" + kSpan + "-01");
    EXPECT_TRUE(keeps_trace(trace));
}

TEST(TraceContext, ARouterThatRecordsIsAChildOfTheCaller) {
    const TraceContext trace = trace_from({"00-" + kTrace + "-" + kSpan + "-01"}, true, 0);
    EXPECT_EQ(trace.trace_id, kTrace);
    EXPECT_EQ(trace.parent_id, kSpan);
    EXPECT_NE(trace.span_id, kSpan);
    EXPECT_TRUE(trace.sampled);  // The caller's flag, not our share.
    EXPECT_FALSE(trace_from({"00-" + kTrace + "-" + kSpan + "-00"}, true, 1).sampled);
}

TEST(TraceContext, LaterVersionsMayAddFieldsAndFlags) {
    EXPECT_EQ(parent_of(trace_from({"cc-" + kTrace + "-" + kSpan + "-03-more"})),
              "00-" + kTrace + "-" + kSpan + "-01");
    EXPECT_TRUE(keeps_trace(trace_from({"cc-" + kTrace + "-" + kSpan + "-0a"})));
}

TEST(TraceContext, AnythingElseBeginsANewTrace) {
    const std::string good = "00-" + kTrace + "-" + kSpan + "-01";
    const std::vector<std::vector<std::string>> cases = {
        {},
        {""},
        {good, good},
        {good + "-more"},  // Version 00 has four fields.
        {good + "x"},
        {"cc-" + kTrace + "-" + kSpan + "-01x"},
        {"ff-" + kTrace + "-" + kSpan + "-01"},
        {"00-" + std::string(32, '0') + "-" + kSpan + "-01"},
        {"00-" + kTrace + "-" + std::string(16, '0') + "-01"},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kSpan + "-01"},
        {"00-" + kTrace + "_" + kSpan + "-01"},
        {good.substr(0, 54)},
        {"00-" + kTrace + "-" + kSpan + "-0g"},
    };
    for (const auto& parents : cases) {
        const TraceContext trace = trace_from(parents);
        const std::string shown = parents.empty() ? "none" : parents.front();
        EXPECT_FALSE(keeps_trace(trace)) << shown;
        EXPECT_FALSE(trace.sampled) << shown;  // Nobody records it.
        RequestHead next;
        const std::string sent = parent_of(trace);
        next.fields.push_back({"traceparent", sent});
        Rng rng(8);
        EXPECT_TRUE(keeps_trace(trace_of(next, false, 0, rng))) << sent;
    }
}

TEST(TraceContext, TheShareOfNewTracesIsSampled) {
    Rng rng(11);
    const RequestHead head;
    int sampled = 0;
    for (int i = 0; i < 10'000; ++i) sampled += trace_of(head, true, 0.25, rng).sampled;
    EXPECT_NEAR(sampled, 2'500, 200);
}

}  // namespace
}  // namespace hearth
