// NodeWorld: a whole cache node over a tiny model on a loopback port, and a client to talk to it.
#pragma once

#include <boost/json/value.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/api/prompt.h"
#include "cachenode/config.h"
#include "cachenode/server.h"
#include "common/net/http_client.h"
#include "common/redis/memory_store.h"

namespace hearth::testing {

// The data of each event of an SSE stream, in order; checks the framing.
std::vector<std::string> sse_data(std::string_view stream);

// A chat body: {"model":...,"messages":[...]} with `more` fields.
struct Line {
    std::string role, text;
};
std::string chat_body(const std::vector<Line>& lines, const std::string& more);

// One thread: the test's. Each call runs the loop until its own work is done.
class NodeWorld {
  public:
    // `store` null: the node publishes nothing.
    explicit NodeWorld(NodeConfig config = {}, MetadataStore* store = nullptr);
    ~NodeWorld();

    HttpClient::Answer get(const std::string& path);
    HttpClient::Answer post(const std::string& path, const std::string& body,
                            const HeaderList& headers = {});
    // All bodies at once; answers in their order.
    std::vector<HttpClient::Answer> post_all(const std::string& path,
                                             const std::vector<std::string>& bodies);
    // Sends the body, reads the answer until `bytes` body bytes came, then closes the connection.
    void post_and_leave(const std::string& path, const std::string& body, std::size_t bytes);

    // Value of a sample line of /metrics that starts with `series` ("name{labels}"); -1 if absent.
    double metric(const std::string& series);
    // Asks /metrics until `series` has `value`; false after some thousand attempts.
    bool wait_for_metric(const std::string& series, double value);
    // Runs the loop until `done` is true; false after some seconds.
    bool run_until(const std::function<bool()>& done);

    asio::io_context& io() { return io_; }
    NodeServer& server() { return *server_; }
    void destroy_server() { server_.reset(); }  // Without a drain, on the stopped loop.
    HttpClient& client() { return client_; }
    const PromptRenderer& prompts() const { return *prompts_; }
    std::string endpoint() const { return server_->endpoint(); }

    template <typename T>
    T run(Task<T> task) {
        std::optional<T> out;
        run(keep(std::move(task), out));
        return std::move(*out);
    }
    void run(Task<void> task);

  private:
    template <typename T>
    static Task<void> keep(Task<T> task, std::optional<T>& out) {
        out.emplace(co_await std::move(task));
    }
    void spin();

    asio::io_context io_{1};
    HttpClient client_{io_};
    std::shared_ptr<const PromptRenderer> prompts_;
    std::unique_ptr<NodeServer> server_;
};

constexpr const char* kModel = "tiny";
constexpr const char* kLabel = "{model=\"tiny\"}";

}  // namespace hearth::testing
