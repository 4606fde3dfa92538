// Follows the names at the top of the body's object.
#include "router/admission/model_scan.h"

#include "common/net/http_head.h"

namespace hearth {
namespace {

constexpr std::string_view kModel = "model";

}  // namespace

bool ModelScan::fail(const char* why) {
    error_ = why;
    return false;
}

bool ModelScan::take(const JsonScanner::Piece& piece) {
    if (scanner_.depth() != 1) return true;
    switch (piece.event) {
        case JsonEvent::kKeyPart:
            if (new_name_) name_.clear();
            new_name_ = false;
            // Longer than any name that matters is enough to tell it apart.
            if (name_.size() <= kModel.size()) name_.append(piece.text);
            return true;
        case JsonEvent::kKeyEnd:
            if (new_name_) name_.clear();
            new_name_ = true;
            is_model_ = name_ == kModel;
            if (!equals_ignore_case(name_, kModel)) return true;
            if (seen_) return fail("the body names its model twice");
            seen_ = true;
            return true;
        case JsonEvent::kTextPart:
            if (!is_model_) return true;
            if (model_.size() + piece.text.size() > kModelBytesMax)
                return fail("the model's name is too long");
            model_.append(piece.text);
            return true;
        default: return true;
    }
}

bool ModelScan::feed(std::string_view bytes) {
    while (true) {
        const JsonScanner::Piece piece = scanner_.next(bytes);
        if (piece.event == JsonEvent::kNone) return true;
        if (piece.event == JsonEvent::kBad) return fail(scanner_.error());
        if (!take(piece)) return false;
    }
}

bool ModelScan::finish() {
    return scanner_.finish() || fail("the body is not whole JSON");
}

}  // namespace hearth
