// Fuzz target of the configuration: any text gives a RouterConfig within its limits or an error
// that names the file, and what is printed of a good one is YAML again.
// Build and run: ./dev fuzz config
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/config/options.h"
#include "router/config.h"

namespace {

hearth::Result<void> load(const std::string& text, hearth::RouterConfig& config,
                          std::string* printed) {
    hearth::Options options("hearth-router", "", {});
    config.declare(options);
    auto loaded = options.load_yaml(text, "fuzz.yaml");
    if (loaded.ok() && printed != nullptr) *printed = options.print();
    return loaded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(bytes), size);
    // Secrets in files: the fuzzer is not to read the machine's.
    if (text.find("_file") != std::string::npos) return 0;
    hearth::RouterConfig config;
    std::string printed;
    const auto loaded = load(text, config, &printed);
    if (!loaded) {
        CHECK_MSG(loaded.error().message.find("fuzz.yaml:") != std::string::npos,
                  loaded.error().message);
        return 0;
    }
    CHECK(config.connections_max >= 1 && config.connections_max <= 1'000'000);
    for (const hearth::StaticNode& node : config.nodes)
        CHECK(!node.node_id.empty() && !node.address.empty() && node.weight > 0);
    for (const hearth::TenantSettings& tenant : config.tenants)
        CHECK(!tenant.name.empty() && !tenant.keys.empty() && tenant.requests_per_second >= 0);
    CHECK(!printed.empty());
    return 0;
}
