// ModelScan: which model a request's body asks for, if every reader of the body would say the same.
#pragma once

#include <string>
#include <string_view>

#include "router/session/json_scanner.h"

namespace hearth {

// Owned by one request of a tenant that may use some models only. Reads the whole body: a second
// `model`, or one spelt in other cases (which some servers take), could name another.
class ModelScan {
  public:
    bool feed(std::string_view bytes);  // False once the body is no good; error() says why.
    bool finish();                      // The body is over.

    const std::string& model() const { return model_; }  // Empty if there is none.
    const char* error() const { return error_; }

  private:
    static constexpr std::size_t kModelBytesMax = 1024;

    bool take(const JsonScanner::Piece& piece);
    bool fail(const char* why);

    JsonScanner scanner_;
    std::string name_;  // Of the member that is being read, at the top.
    std::string model_;
    bool new_name_ = true;
    bool seen_ = false;
    bool is_model_ = false;  // The value being read is the model's.
    const char* error_ = "";
};

}  // namespace hearth
