// SHA-256: over text that arrives in pieces, and of a file, to verify what was downloaded.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX.

namespace hearth {

// One owner. Costs nothing until the first add().
class Sha256 {
  public:
    using Digest = std::array<unsigned char, 32>;

    void add(std::string_view bytes);
    Digest digest();  // Of all that was added, which may be nothing; then starts over.

  private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    void begin();

    std::unique_ptr<evp_md_ctx_st, Free> context_;
    bool begun_ = false;
};

// 64 lower-case hex digits. Blocking: reads the whole file. kNotFound when it cannot be read.
Result<std::string> sha256_of_file(const std::string& path);

}  // namespace hearth
