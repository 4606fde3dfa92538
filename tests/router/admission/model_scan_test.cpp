// ModelScan: the model of a body, and bodies that could be read in two ways.
#include "router/admission/model_scan.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

// The model, or "!" and the error.
std::string model_of(std::string_view body, std::size_t step) {
    ModelScan scan;
    bool good = true;
    for (std::size_t at = 0; at < body.size() && good; at += step)
        good = scan.feed(body.substr(at, step));
    return good && scan.finish() ? scan.model() : "!" + std::string(scan.error());
}

TEST(ModelScan, FindsTheModelWhereverItIs) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"model":"a"})", "a"},
        {R"({"messages":[{"model":"x"}],"model":"b b","z":1})", "b b"},
        {R"({"m\u006fdel":"c\u00e9"})", "c\u00e9"},
        {R"({"model":null})", ""},
        {R"({"model":{"model":"x"}})", ""},
        {R"({"modelx":"x","mode":"y","":"z"})", ""},
        {R"({"Model":"x"})", ""},
        {"[]", ""},
    };
    for (const auto& [body, model] : cases)
        for (const std::size_t step : {1, 3, 1000}) EXPECT_EQ(model_of(body, step), model) << body;
}

TEST(ModelScan, RefusesWhatTwoReadersMightReadDifferently) {
    for (const char* body : {R"({"model":"a","model":"b"})", R"({"model":"a","MODEL":"b"})",
                             R"({"Model":"b","model":"a"})", R"({"model":"a","m\u006fdel":"b"})"})
        EXPECT_EQ(model_of(body, 2), "!the body names its model twice") << body;
    for (const char* body : {"", "{", R"({"model":"a"}x)", R"({"model":"a)"})
        EXPECT_EQ(model_of(body, 2)[0], '!') << body;
    EXPECT_EQ(model_of(R"({"model":")" + std::string(2000, 'm') + "\"}", 100)[0], '!');
}

}  // namespace
}  // namespace hearth
