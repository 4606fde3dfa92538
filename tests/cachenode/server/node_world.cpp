// NodeWorld: the tiny model is written once per test program, into a folder of its own.
#include "tests/cachenode/server/node_world.h"

#include <unistd.h>

#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <filesystem>

#include "common/base/log.h"

namespace hearth::testing {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class TinyModelFile {
  public:
    TinyModelFile() {
        folder_ = fs::temp_directory_path() / ("hearth-node-test-" + std::to_string(getpid()));
        fs::create_directories(folder_);
        path_ = folder_ / "tiny.gguf";
        engine::TinyModelOptions options;
        options.seed = 7;
        const auto written = engine::write_tiny_model(path_.string(), options);
        CHECK_MSG(written.ok(), written.ok() ? "" : written.error().message);
    }
    ~TinyModelFile() { fs::remove_all(folder_); }
    std::string path() const { return path_.string(); }

  private:
    fs::path folder_, path_;
};

std::string model_path() {
    static const TinyModelFile file;
    return file.path();
}

engine::Checkpoint load(const engine::LoadOptions& options) {
    auto checkpoint = engine::load_checkpoint(model_path(), options);
    CHECK_MSG(checkpoint.ok(), checkpoint.ok() ? "" : checkpoint.error().message);
    return std::move(*checkpoint);
}

Task<HttpClient::Answer> call(HttpClient& client, std::string host, std::string method,
                              std::string path, HeaderList headers, std::string body) {
    auto answer = co_await client.call(host, method, path, headers, body, 60s);
    if (!answer.ok()) ADD_FAILURE() << method << " " << path << ": " << answer.error().message;
    co_return answer.ok() ? std::move(*answer) : HttpClient::Answer{};
}

Task<void> leave_early(HttpClient& client, std::string host, std::string path, std::string body,
                       std::size_t bytes) {
    auto opened = co_await client.open(host, /*fresh=*/true);
    if (!opened.ok()) {
        ADD_FAILURE() << opened.error().message;
        co_return;
    }
    ClientExchange& exchange = **opened;
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = path;
    options.host = host;
    options.body = BodyKind::kLength;
    options.content_length = body.size();
    const std::vector<HeaderField> fields;
    const auto sent = co_await exchange.send_head(options, fields, body);
    EXPECT_TRUE(sent.ok());
    if (bytes == 0) co_return;
    const auto head = co_await exchange.read_head(60s);
    EXPECT_TRUE(head.ok());
    std::size_t read = 0;
    while (read < bytes) {
        const auto piece = co_await exchange.read_body_some(60s);
        if (!piece.ok() || piece->empty()) {
            ADD_FAILURE() << "the answer ended after " << read << " bytes";
            co_return;
        }
        read += piece->size();
    }
}

}  // namespace

std::vector<std::string> sse_data(std::string_view stream) {
    std::vector<std::string> out;
    while (!stream.empty()) {
        const std::size_t end = stream.find("\n\n");
        EXPECT_TRUE(stream.starts_with("data: ") && end != std::string_view::npos) << stream;
        if (end == std::string_view::npos) break;
        out.emplace_back(stream.substr(6, end - 6));
        stream.remove_prefix(end + 2);
    }
    return out;
}

std::string chat_body(const std::vector<Line>& lines, const std::string& more) {
    boost::json::array messages;
    for (const Line& line : lines)
        messages.push_back(boost::json::object{{"role", line.role}, {"content", line.text}});
    return R"({"model":"tiny","messages":)" + boost::json::serialize(messages) +
           (more.empty() ? "" : "," + more) + "}";
}

NodeWorld::NodeWorld(NodeConfig config, MetadataStore* store) {
    log::set_level(log::Level::kError);
    config.listen = "127.0.0.1:0";
    config.model_path = model_path();
    config.served_model_name = kModel;
    config.threads = 1;
    if (config.kv_memory == NodeConfig{}.kv_memory) config.kv_memory = 16 << 20;
    auto renderer = PromptRenderer::make(load({.weights = false}), config.chat_template);
    CHECK_MSG(renderer.ok(), renderer.ok() ? "" : renderer.error().message);
    prompts_ = std::move(*renderer);
    auto made = NodeServer::make(io_, config, load({}), store, SystemClock::instance());
    CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
    server_ = std::move(*made);
    const auto started = server_->start();
    CHECK_MSG(started.ok(), started.ok() ? "" : started.error().message);
}

NodeWorld::~NodeWorld() {
    if (server_) run(server_->drain_and_stop(1s));
}

void NodeWorld::spin() {
    io_.restart();
    io_.run_for(120s);
    CHECK_MSG(io_.stopped(), "the test's work did not end in two minutes");
}

void NodeWorld::run(Task<void> task) {
    std::exception_ptr failure;
    asio::co_spawn(io_, std::move(task), [&](std::exception_ptr thrown) {
        failure = thrown;
        io_.stop();
    });
    spin();
    if (failure) std::rethrow_exception(failure);
}

HttpClient::Answer NodeWorld::get(const std::string& path) {
    return run(call(client_, endpoint(), "GET", path, {}, {}));
}

HttpClient::Answer NodeWorld::post(const std::string& path, const std::string& body,
                                   const HeaderList& headers) {
    return run(call(client_, endpoint(), "POST", path, headers, body));
}

std::vector<HttpClient::Answer> NodeWorld::post_all(const std::string& path,
                                                    const std::vector<std::string>& bodies) {
    std::vector<HttpClient::Answer> answers(bodies.size());
    std::size_t left = bodies.size();
    for (std::size_t i = 0; i < bodies.size(); ++i)
        asio::co_spawn(io_, call(client_, endpoint(), "POST", path, {}, bodies[i]),
                       [&, i](std::exception_ptr, HttpClient::Answer answer) {
                           answers[i] = std::move(answer);
                           if (--left == 0) io_.stop();
                       });
    spin();
    return answers;
}

void NodeWorld::post_and_leave(const std::string& path, const std::string& body,
                               std::size_t bytes) {
    run(leave_early(client_, endpoint(), path, body, bytes));
}

double NodeWorld::metric(const std::string& series) {
    const std::string page = "\n" + get("/metrics").body;
    const std::size_t at = page.find("\n" + series + " ");
    if (at == std::string::npos) return -1;
    return std::strtod(page.c_str() + at + series.size() + 2, nullptr);
}

bool NodeWorld::wait_for_metric(const std::string& series, double value) {
    for (int i = 0; i < 20'000; ++i)
        if (metric(series) == value) return true;
    return false;
}

bool NodeWorld::run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 20'000 && !done(); ++i) {
        io_.restart();
        io_.run_one_for(10ms);
    }
    return done();
}

}  // namespace hearth::testing
