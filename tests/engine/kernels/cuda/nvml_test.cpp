// Nvml over a library of ours with NVIDIA's names.
#include "engine/kernels/cuda/nvml.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

namespace hearth::engine::cuda {
namespace {

TEST(Nvml, ReadsItsDeviceAndSurvivesADriverThatDoesNotAnswer) {
    auto nvml = Nvml::open("0000:17:00.0", FAKE_NVML);
    ASSERT_TRUE(nvml.ok()) << nvml.error().message;
    for (int i = 0; i < 3; ++i) {
        const auto sensors = (*nvml)->read();
        ASSERT_TRUE(sensors.has_value());
        EXPECT_EQ(sensors->temperature_celsius, 61);
        EXPECT_EQ(sensors->busy_share, 0.83);
        EXPECT_EQ(sensors->memory_busy_share, 0.4);
    }
    EXPECT_FALSE((*nvml)->read().has_value());
}

TEST(Nvml, IsShutDownAsOftenAsItStarted) {
    void* library = dlopen(FAKE_NVML, RTLD_NOW);
    ASSERT_NE(library, nullptr);
    const auto starts = reinterpret_cast<int (*)()>(dlsym(library, "fake_nvml_starts"));
    {
        const auto nvml = Nvml::open("0000:17:00.0", FAKE_NVML);
        ASSERT_TRUE(nvml.ok());
        EXPECT_EQ(starts(), 1);
    }
    EXPECT_FALSE(Nvml::open("0000:18:00.0", FAKE_NVML).ok());
    EXPECT_EQ(starts(), 0);
    dlclose(library);
}

TEST(Nvml, SaysWhatIsMissing) {
    const std::pair<const char*, const char*> cases[] = {
        {"libnone.so.1", "libnone.so.1: cannot be opened"},
        {"libm.so.6", "libm.so.6: lacks a function"},
        {FAKE_NVML, "knows no device '0000:18:00.0', error 6"},
    };
    for (const auto& [library, want] : cases) {
        const auto nvml = Nvml::open("0000:18:00.0", library);
        ASSERT_FALSE(nvml.ok()) << library;
        EXPECT_EQ(nvml.error().code, ErrorCode::kUnsupported);
        EXPECT_NE(nvml.error().message.find(want), std::string::npos) << nvml.error().message;
    }
}

}  // namespace
}  // namespace hearth::engine::cuda
