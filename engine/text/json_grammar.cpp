// JsonGrammar: shapes and the bytes that each can begin with.
#include "engine/text/json_grammar.h"

#include <utility>

#include "common/base/check.h"

namespace hearth::engine {
namespace {

JsonGrammar::Shape shape_of(JsonGrammar::Kind kind, std::string_view first) {
    JsonGrammar::Shape shape;
    shape.kind = kind;
    for (const char c : first) shape.first.set(static_cast<unsigned char>(c));
    return shape;
}

}  // namespace

std::int32_t JsonGrammar::Shape::last_candidate(std::int32_t from) const {
    const auto count = static_cast<std::int32_t>(required.size());
    for (std::int32_t i = from; i < count; ++i)
        if (required[static_cast<std::size_t>(i)]) return i;
    return count - 1;
}

bool JsonGrammar::Shape::may_close(std::int32_t from) const {
    for (auto i = static_cast<std::size_t>(from); i < required.size(); ++i)
        if (required[i]) return false;
    return true;
}

JsonGrammar::JsonGrammar() {
    shapes_.resize(3);  // Those that refer to each other.
    shapes_[kFreeObject] = shape_of(Kind::kFreeObject, "{");
    shapes_[kFreeArray] = shape_of(Kind::kArray, "[");
    shapes_[kFreeArray].children = {kAny};
    CHECK(keep(shape_of(Kind::kText, "\"")) == kText);
    CHECK(keep(shape_of(Kind::kNumber, "-0123456789")) == kNumber);
    Shape integer = shape_of(Kind::kNumber, "-0123456789");
    integer.whole = true;
    CHECK(keep(std::move(integer)) == kInteger);
    CHECK(literals({"true", "false"}) == kBoolean);
    CHECK(literals({"null"}) == kNull);
    Shape any = shape_of(Kind::kOneOf, "");
    any.children = {kFreeObject, kFreeArray, kText, kNumber, kBoolean, kNull};
    for (const std::int32_t child : any.children) any.first |= shape(child).first;
    shapes_[kAny] = std::move(any);
}

std::int32_t JsonGrammar::keep(Shape shape) {
    text_nodes_ += shape.texts.nodes();
    shapes_.push_back(std::move(shape));
    return static_cast<std::int32_t>(shapes_.size()) - 1;
}

std::int32_t JsonGrammar::literals(const std::vector<std::string>& spelled) {
    CHECK(!spelled.empty());
    Shape out = shape_of(Kind::kLiteral, "");
    for (const std::string& text : spelled) {
        CHECK(!text.empty());
        out.texts.add(text);
        out.first.set(static_cast<unsigned char>(text.front()));
    }
    return keep(std::move(out));
}

std::int32_t JsonGrammar::record(const std::vector<Member>& members) {
    Shape out = shape_of(Kind::kRecord, "{");
    for (const Member& member : members) {
        CHECK(out.texts.add(member.key));
        out.children.push_back(member.shape);
        out.required.push_back(member.required);
    }
    return keep(std::move(out));
}

std::int32_t JsonGrammar::array(std::int32_t items, std::int32_t least, std::int32_t most) {
    Shape out = shape_of(Kind::kArray, "[");
    out.children = {items};
    out.least = least;
    out.most = most;
    return keep(std::move(out));
}

std::optional<std::int32_t> JsonGrammar::one_of(const std::vector<std::int32_t>& shapes) {
    Shape out = shape_of(Kind::kOneOf, "");
    for (const std::int32_t child : shapes) {
        if ((out.first & shape(child).first).any()) return std::nullopt;
        out.first |= shape(child).first;
        out.children.push_back(child);
    }
    return keep(std::move(out));
}

std::int32_t JsonGrammar::framed(const std::vector<Framed>& fronts, std::string back) {
    Shape out = shape_of(Kind::kFramed, "");
    for (const Framed& front : fronts) {
        CHECK(out.texts.add(front.front));
        out.first.set(static_cast<unsigned char>(front.front.front()));
        out.children.push_back(front.shape);
    }
    out.back = std::move(back);
    return keep(std::move(out));
}

}  // namespace hearth::engine
