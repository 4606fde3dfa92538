// AnchorHash: SHA-256 over text that arrives in pieces; what the content anchor is made of.
#pragma once

#include <array>
#include <memory>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX.

namespace hearth {

// Collisions must be hard to find: they would join strangers' chats to one session.
// Owned by one reader. Costs nothing until the first add().
class AnchorHash {
  public:
    using Digest = std::array<unsigned char, 32>;

    void add(std::string_view bytes);
    Digest digest();  // Of what was added; starts over. All zero if nothing was.

  private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
    bool used_ = false;
};

std::string_view as_text(const AnchorHash::Digest& digest);

}  // namespace hearth
