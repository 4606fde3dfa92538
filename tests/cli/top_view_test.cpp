// One frame of `hearth top`: sums of the history, rates of two looks, the table and its width.
#include "cli/top_view.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace hearth::cli {
namespace {

namespace json = boost::json;

json::object parsed(const char* text) {
    return json::parse(text).as_object();
}

const char* const kHistory = R"({"interval_ms":10000,"samples":[
  {"at_ms":1000000,"reused":900,"reusable":1000,"ceiling":990,
   "missed":{"rerouted":90,"salt":10}},
  {"at_ms":1290000,"reused":50,"reusable":100,"ceiling":100,"missed":{"evicted":50}},
  {"at_ms":1300000,"reused":45,"reusable":100,"ceiling":100,
   "missed":{"evicted":35,"expired":20}}]})";

json::object nodes_with(double tokens) {
    json::object answer = parsed(R"({"cluster":"main","directory_up":true,"nodes":[
      {"id":"node-1","address":"10.0.0.1:1","state":"active","reason":null,"load":0.5,
       "in_flight":3,"running":2,"waiting":1,"kv_bytes_used":50,"kv_bytes_max":100,
       "reused_tokens":950,"reusable_tokens":1000,"prompt_tokens":0},
      {"id":"foreign","address":"10.0.0.2:1","state":"ejected","reason":"probe","load":0,
       "in_flight":0,"running":0,"waiting":0,"kv_bytes_used":0,"kv_bytes_max":0,
       "reused_tokens":0,"reusable_tokens":0,"prompt_tokens":0}]})");
    answer["nodes"].as_array()[0].as_object()["prompt_tokens"] = tokens;
    return answer;
}

TEST(TopView, AWindowSumsWhatIsYoungEnough) {
    const HitWindow recent = hit_window(parsed(kHistory), 300);
    EXPECT_EQ(recent.reused, 95);
    EXPECT_EQ(recent.reusable, 200);
    EXPECT_EQ(recent.ceiling, 200);
    ASSERT_EQ(recent.missed.size(), 2u);
    EXPECT_EQ(recent.missed[0], (std::pair<std::string, double>("evicted", 85)));
    EXPECT_EQ(recent.missed[1], (std::pair<std::string, double>("expired", 20)));
    const HitWindow hour = hit_window(parsed(kHistory), 3600);
    EXPECT_EQ(hour.reused + hour.missed[0].second + hour.missed[1].second + hour.missed[2].second +
                  hour.missed[3].second,
              hour.reusable);
    EXPECT_EQ(hit_window({}, 300).reusable, 0);
    EXPECT_EQ(hit_window(parsed(R"({"samples":[1]})"), 300).reusable, 0);
}

TEST(TopView, RatesAreOfTwoLooks) {
    TopView view;
    const json::object history = parsed(kHistory);
    EXPECT_EQ(view.next(nodes_with(100), history, 10 * kSecond).nodes[0].prompt_tokens_per_s, -1);
    EXPECT_EQ(view.next(nodes_with(600), history, 12 * kSecond).nodes[0].prompt_tokens_per_s, 250);
    EXPECT_EQ(view.next(nodes_with(50), history, 14 * kSecond).nodes[0].prompt_tokens_per_s, -1)
        << "a node that began anew has no rate yet";
}

TEST(TopView, TheTableSaysWhatIsKnown) {
    TopView view;
    const TopFrame frame = view.next(nodes_with(100), parsed(kHistory), kSecond);
    const std::string text = top_text(frame, {});
    for (const char* part :
         {"fleet main: 2 nodes, 2 turns running, 1 waiting, KV 50.0 % full, metadata store up",
          "47.5 %  of at most  100.0 %  missed: evicted 42.5 %, expired 10.0 %", "82.9 %",
          "###...", "ejected (probe)", "95.0 %"})
        EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos) << "colours that nobody asked for";
    const json::object out = top_json(frame);
    EXPECT_DOUBLE_EQ(out.at("five_minutes").at("hit_rate").as_double(), 0.475);
    EXPECT_TRUE(out.at("nodes").at(1).at("hit_rate").is_null());
}

TEST(TopView, LinesAreCutAndColoursEnd) {
    TopView view;
    const TopFrame frame = view.next(nodes_with(100), parsed(kHistory), kSecond);
    const std::string text = top_text(frame, {.color = true, .columns = 40});
    std::size_t begin = 0, opened = 0, closed = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        std::size_t seen = 0;
        for (std::size_t i = begin; i < end; ++i) {
            if (text[i] != '\x1b') {
                ++seen;
                continue;
            }
            const std::size_t stop = text.find('m', i);
            (text.substr(i, stop + 1 - i) == "\x1b[0m" ? closed : opened) += 1;
            i = stop;
        }
        EXPECT_LE(seen, 40u) << text.substr(begin, end - begin);
    }
    EXPECT_GT(opened, 0u);
    EXPECT_EQ(opened, closed);
}

}  // namespace
}  // namespace hearth::cli
