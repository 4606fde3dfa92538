// hearth model eval on a trained model: float's perplexity is that of the float64 reference in
// tests/golden, int8's is within one percent, int4's within
// ten.
#include "cli/model_eval.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hearth::cli {
namespace {

TEST(ModelEval, FloatIsTheReferenceAndInt8IsNear) {
    const std::string model = HEARTH_SOURCE_DIR "/../shared/data/weights/stories260K-f32.gguf";
    if (!std::filesystem::exists(model)) GTEST_SKIP() << "skipped: " << model << " is absent";
    std::stringstream golden;
    golden << std::ifstream(HEARTH_SOURCE_DIR "/tests/golden/stories260k.json").rdbuf();
    const boost::json::value reference = boost::json::parse(golden.str());

    ::testing::internal::CaptureStdout();
    const int exit_code = eval_model({.model = model,
                                      .text = HEARTH_SOURCE_DIR "/tests/golden/story.txt",
                                      .window = reference.at("window").to_number<std::int32_t>(),
                                      .threads = 1,
                                      .json = true});
    const std::string printed = ::testing::internal::GetCapturedStdout();
    ASSERT_EQ(exit_code, 0);
    const boost::json::value got = boost::json::parse(printed);
    EXPECT_EQ(got.at("tokens").to_number<std::size_t>(), reference.at("tokens").as_array().size());
    const double want = reference.at("perplexity").as_double();
    EXPECT_NEAR(got.at("float").at("perplexity").as_double() / want, 1.0, 1e-5);
    const double int8 = got.at("int8").at("perplexity").as_double();
    EXPECT_NEAR(int8 / want, 1.0, 0.01);
    EXPECT_NE(int8, want);
    const double int4 = got.at("int4").at("perplexity").as_double();
    EXPECT_NEAR(int4 / want, 1.0, 0.1);  // So small a model, and a file of floats.
    EXPECT_GT(std::abs(int4 / want - 1.0), std::abs(int8 / want - 1.0));
    EXPECT_NEAR(got.at("int8").at("over_float").as_double(), int8 / want - 1.0, 1e-4);
}

TEST(ModelEval, SaysWhatIsMissing) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(eval_model({.model = HEARTH_SOURCE_DIR "/README.md", .text = "/no/such/file"}), 2);
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("/no/such/file"), std::string::npos);
}

}  // namespace
}  // namespace hearth::cli
