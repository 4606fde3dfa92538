// ChatServer: one server of the chat benchmark; sends it whole rounds of conversations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/server_url.h"
#include "cli/turn_client.h"
#include "tests/bench/chat/chat_figures.h"
#include "tests/bench/chat/conversations.h"

namespace hearth::bench {

// Any OpenAI-compatible server. Runs on the benchmark's one thread; `io` outlives it.
class ChatServer {
  public:
    ChatServer(asio::io_context& io, cli::ServerUrl url, std::int64_t reply_tokens)
        : io_(io),
          host_port_(std::move(url.host_port)),
          client_(io, url.client),
          reply_tokens_(reply_tokens) {}

    const std::string& host_port() const { return host_port_; }

    // Finds the name of its model. Blocks.
    Result<void> connect();

    // All sessions at once, each sending its next message as soon as the reply to the last is
    // there. Every server hears the same users; what is said to them is its own replies' business,
    // of which each has exactly `reply_tokens`. Blocks until the last session is done.
    void run(const std::vector<Conversation>& chats);

    const ChatRun& done() const { return done_; }

  private:
    Task<void> session(const Conversation& chat);
    Task<int> sessions(const std::vector<Conversation>& chats);

    asio::io_context& io_;
    const std::string host_port_;
    HttpClient client_;
    const std::int64_t reply_tokens_;
    std::string model_;
    ChatRun done_;
};

}  // namespace hearth::bench
