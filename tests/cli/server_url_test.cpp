// server_url: what a person may write where a subcommand wants a server.
#include "cli/server_url.h"

#include <gtest/gtest.h>

namespace hearth::cli {
namespace {

TEST(ServerUrl, TakesAddressesAndUrls) {
    EXPECT_EQ(server_url("127.0.0.1:8080", "")->host_port, "127.0.0.1:8080");
    EXPECT_EQ(server_url("http://a.test/", "")->host_port, "a.test:80");
    EXPECT_EQ(server_url("https://a.test", "")->host_port, "a.test:443");
    EXPECT_EQ(server_url("https://[::1]", "")->host_port, "[::1]:443");
    EXPECT_EQ(server_url("https://[::1]:8443/", "")->host_port, "[::1]:8443");
    EXPECT_EQ(server_url("127.0.0.1:8080", "")->client.tls, nullptr);
    EXPECT_NE(server_url("https://a.test", "")->client.tls, nullptr);
}

TEST(ServerUrl, SaysWhatIsWrong) {
    EXPECT_FALSE(server_url("ftp://a.test", "").ok());
    EXPECT_FALSE(server_url("a.test", "").ok());
    const auto bad = server_url("https://a.test", "/no/such/ca.pem");
    ASSERT_FALSE(bad.ok());
    EXPECT_NE(bad.error().message.find("/no/such/ca.pem"), std::string::npos);
}

}  // namespace
}  // namespace hearth::cli
