// JSON for people: numbers without exponents where none is needed, and every value comes back.
#include "common/wire/json_text.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "common/base/rng.h"

namespace hearth {
namespace {

namespace json = boost::json;

TEST(JsonText, NumbersAreWrittenAsPeopleWriteThem) {
    EXPECT_EQ(
        json_text({{"load", 0.0}, {"weight", 1.0}, {"share", 0.24867}, {"bytes", 536870912.0}}),
        R"({"load":0,"weight":1,"share":0.24867,"bytes":536870912})");
    EXPECT_EQ(json_text(json::array{-2.5, -0.0, 7, std::uint64_t{18446744073709551615u}, 1e300}),
              "[-2.5,-0,7,18446744073709551615,1e+300]");
    EXPECT_EQ(json_text(json::array{std::numeric_limits<double>::quiet_NaN(),
                                    std::numeric_limits<double>::infinity()}),
              "[null,null]");
}

TEST(JsonText, TheRestIsWrittenAsBoostDoes) {
    const char* text = R"({"a \"b\"\n":[{},[],null,true,false,"\u0001 caf)"
                       "\xc3\xa9"
                       R"("],"":{"x":[[1],[2,3]]}})";
    EXPECT_EQ(json_text(json::parse(text)), json::serialize(json::parse(text)));
}

TEST(JsonText, EveryDoubleComesBackWithAllItsBits) {
    constexpr std::uint64_t kSeed = 20261123;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    for (int i = 0; i < 2'000; ++i) {
        const double value =
            (rng.uniform() - 0.5) * std::pow(10.0, static_cast<int>(rng.below(40)) - 20);
        const std::string text = json_text(value);  // Boost's own reader is off by a bit at times.
        EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
    }
}

}  // namespace
}  // namespace hearth
