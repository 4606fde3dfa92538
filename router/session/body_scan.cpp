// Which parts of a chat request name its session, and the anchor for those that have no name.
#include "router/session/body_scan.h"

#include <algorithm>

namespace hearth {
namespace {

// One byte more than a key may have tells that it is too long.
constexpr std::size_t kCaptureBytesMax = kRawKeyBytesMax + 1;
constexpr std::size_t kNameBytesMax = 32;  // No name that matters is longer.

// No UTF-8 text holds these bytes, so hashed values cannot run into each other.
constexpr std::string_view kTextEnd = "\xff";
constexpr std::string_view kScalarEnd = "\xfe";

constexpr std::array<KeySource, 7> kSourceOf = {KeySource::kPromptCacheKey,
                                                KeySource::kConversation,
                                                KeySource::kConversation,
                                                KeySource::kSessionId,
                                                KeySource::kMetadata,
                                                KeySource::kUser,
                                                KeySource::kUser};
constexpr std::array<std::string_view, 7> kParamOf = {"prompt_cache_key",    "previous_response_id",
                                                      "conversation",        "session_id",
                                                      "metadata.session_id", "user",
                                                      "safety_identifier"};

void append_bounded(std::string& out, std::string_view bytes, std::size_t max) {
    out.append(bytes.substr(0, max - std::min(max, out.size())));
}

bool is_number(std::string_view scalar) {
    return !scalar.empty() && (scalar[0] == '-' || (scalar[0] >= '0' && scalar[0] <= '9'));
}

std::string_view as_text(const Sha256::Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

bool is_system(std::string_view role) {
    return role == "system" || role == "developer";
}

}  // namespace

BodyScan::Progress BodyScan::fail(std::string message, std::string_view param) {
    error_ = std::move(message);
    error_param_ = param;
    progress_ = Progress::kBad;
    return progress_;
}

BodyScan::Progress BodyScan::feed(std::string_view bytes) {
    std::string_view rest = bytes;
    while (progress_ == Progress::kMore) {
        const JsonScanner::Piece piece = scanner_.next(rest);
        if (piece.event == JsonEvent::kNone) break;
        if (piece.event == JsonEvent::kBad) {
            const std::size_t at = bytes_fed_ + (bytes.size() - rest.size());
            return fail(std::string("the body is not JSON: ") + scanner_.error() + " (byte " +
                            std::to_string(at) + ")",
                        {});
        }
        take(piece);
    }
    bytes_fed_ += bytes.size();
    return progress_;
}

BodyScan::Progress BodyScan::finish() {
    if (progress_ != Progress::kMore) return progress_;
    if (!scanner_.finish())
        return fail(std::string("the body is not JSON: ") + scanner_.error() + " (byte " +
                        std::to_string(bytes_fed_) + ")",
                    {});
    if (want_ != Want::kModel) return decide();
    progress_ = Progress::kFound;
    return progress_;
}

void BodyScan::take(const JsonScanner::Piece& piece) {
    if (depth_ == 0 && piece.event != JsonEvent::kBeginObject) {
        fail("the body must be a JSON object", {});
        return;
    }
    const bool hashed = depth_ > 0 && places_[depth_ - 1] == Place::kHashed;
    switch (piece.event) {
        case JsonEvent::kBeginObject: open(true); break;
        case JsonEvent::kBeginArray: open(false); break;
        case JsonEvent::kEndObject: close(true); break;
        case JsonEvent::kEndArray: close(false); break;
        case JsonEvent::kKeyPart:
            if (hashed)
                hashing_->add(piece.text);
            else
                append_bounded(name_, piece.text, kNameBytesMax + 1);
            break;
        case JsonEvent::kKeyEnd: end_key(); break;
        case JsonEvent::kTextPart:
        case JsonEvent::kScalarPart: take_bytes(value_field(), piece.text); break;
        case JsonEvent::kTextEnd: end_scalar(value_field(), true); break;
        case JsonEvent::kScalarEnd: end_scalar(value_field(), false); break;
        case JsonEvent::kNone:
        case JsonEvent::kBad: break;
    }
}

void BodyScan::end_key() {
    const Place place = places_[depth_ - 1];
    if (place == Place::kHashed) hashing_->add(kTextEnd);
    field_ = field_of(place, name_);
    // The first of two members of one name counts.
    const auto source = static_cast<std::size_t>(field_);
    if (source < kSources && !found_[source].empty()) field_ = Field::kSkipped;
    if (field_ == Field::kInput || field_ == Field::kInstructions) {
        text_ = Sha256();
        other_ = Sha256();
    }
    name_.clear();
}

BodyScan::Field BodyScan::field_of(Place place, std::string_view key) const {
    struct Name {
        Place place;
        std::string_view key;
        Field field;
    };
    static constexpr Name kNames[] = {
        {Place::kRoot, "prompt_cache_key", Field::kPromptCacheKey},
        {Place::kRoot, "previous_response_id", Field::kPreviousResponse},
        {Place::kRoot, "conversation", Field::kConversation},
        {Place::kConversation, "id", Field::kConversation},
        {Place::kRoot, "session_id", Field::kSessionId},
        {Place::kRoot, "metadata", Field::kMetadata},
        {Place::kMetadata, "session_id", Field::kMetadataSession},
        {Place::kRoot, "user", Field::kUser},
        {Place::kRoot, "safety_identifier", Field::kSafetyIdentifier},
        {Place::kRoot, "model", Field::kModel},
        {Place::kRoot, "tools", Field::kTools},
        {Place::kRoot, "prompt", Field::kPrompt},
        {Place::kRoot, "messages", Field::kMessages},
        {Place::kRoot, "input", Field::kInput},
        {Place::kRoot, "instructions", Field::kInstructions},
        {Place::kMessage, "role", Field::kRole},
        {Place::kMessage, "content", Field::kContent},
        {Place::kPart, "text", Field::kPartText},
    };
    if (place == Place::kHashed) return Field::kHashed;
    if (place == Place::kSkipped) return Field::kSkipped;
    for (const Name& name : kNames)
        if (name.place == place && name.key == key) return name.field;
    // A part's type is told by its other members; cache markers move from turn to turn.
    const bool marker = key == "type" || key == "cache_control";
    return place == Place::kPart && !marker ? Field::kPartOther : Field::kSkipped;
}

BodyScan::Field BodyScan::value_field() const {
    switch (places_[depth_ - 1]) {
        case Place::kMessages: return Field::kMessage;
        case Place::kParts: return Field::kPart;
        case Place::kHashed: return Field::kHashed;
        case Place::kSkipped: return Field::kSkipped;
        default: return field_;
    }
}

Sha256* BodyScan::hash_of(Field field) {
    switch (field) {
        case Field::kModel: return &model_;
        case Field::kTools: return &tools_;
        case Field::kPrompt: return &prompt_;
        case Field::kPartOther: return &other_;
        case Field::kHashed: return hashing_;
        default: return nullptr;
    }
}

BodyScan::Place BodyScan::place_of(Field field, bool object) {
    if (object && field == Field::kMetadata) return Place::kMetadata;
    if (object && field == Field::kConversation) return Place::kConversation;
    const bool lists = field == Field::kMessages || field == Field::kInput;
    if (!object && lists) return Place::kMessages;
    // What comes after the first user message changes from turn to turn.
    if (object && field == Field::kMessage) return first_user_ ? Place::kSkipped : Place::kMessage;
    if (!object && field == Field::kContent) return Place::kParts;
    if (object && field == Field::kPart) return Place::kPart;
    return hash_of(field) != nullptr ? Place::kHashed : Place::kSkipped;
}

void BodyScan::open(bool object) {
    const Field field = depth_ == 0 ? Field::kSkipped : value_field();
    const Place place = depth_ == 0 ? Place::kRoot : place_of(field, object);
    if (place == Place::kMessage) {
        text_ = Sha256();
        other_ = Sha256();
        role_.clear();
    }
    if (place == Place::kHashed) {
        hashing_ = hash_of(field);
        hashing_->add(object ? "{" : "[");
    }
    places_[depth_++] = place;
}

void BodyScan::close(bool object) {
    const Place place = places_[--depth_];
    if (place == Place::kMessage) end_message();
    if (place == Place::kHashed) hashing_->add(object ? "}" : "]");
    field_ = Field::kSkipped;
}

void BodyScan::take_bytes(Field field, std::string_view bytes) {
    if (field == Field::kModel && !has_model_) append_bounded(model_name_, bytes, kCaptureBytesMax);
    if (static_cast<std::size_t>(field) < kSources || field == Field::kRole)
        append_bounded(capture_, bytes, kCaptureBytesMax);
    else if (field == Field::kContent || field == Field::kPart || field == Field::kPartText ||
             field == Field::kInput || field == Field::kInstructions)
        text_.add(bytes);
    else if (Sha256* hash = hash_of(field))
        hash->add(bytes);
}

void BodyScan::end_scalar(Field field, bool text) {
    const auto source = static_cast<std::size_t>(field);
    if (source < kSources && (text || is_number(capture_))) found_[source] = capture_;
    if (field == Field::kRole && text) role_ = capture_;
    if (Sha256* hash = hash_of(field)) hash->add(text ? kTextEnd : kScalarEnd);
    if (text && (field == Field::kInput || field == Field::kInstructions)) {
        // What a message of that text would be; none is open here.
        role_ = field == Field::kInput ? "user" : "system";
        if (field == Field::kInstructions || !first_user_) end_message();
    }
    capture_.clear();
    if (field == Field::kModel && !has_model_) {
        has_model_ = text;
        if (!text) model_name_.clear();
    }
    if (want_ == Want::kModel && has_model_) progress_ = Progress::kFound;
    const bool enough = want_ == Want::kKey || (want_ == Want::kBoth && has_model_);
    if (enough && !found_[0].empty()) decide();
}

void BodyScan::end_message() {
    if (!is_system(role_) && role_ != "user") return;
    Sha256 both;
    both.add(as_text(text_.digest()));
    both.add(as_text(other_.digest()));
    const Sha256::Digest message = both.digest();
    if (role_ == "user")
        first_user_ = message;
    else
        system_.add(as_text(message));
}

BodyScan::Progress BodyScan::decide() {
    for (std::size_t source = 0; source < kSources; ++source) {
        const bool coarse = kSourceOf[source] == KeySource::kUser;
        if (found_[source].empty() || (coarse && !user_counts_)) continue;
        if (found_[source].size() > kRawKeyBytesMax)
            return fail(std::string(kParamOf[source]) + " is longer than " +
                            std::to_string(kRawKeyBytesMax) + " bytes",
                        kParamOf[source]);
        key_ = {kSourceOf[source], found_[source]};
        progress_ = Progress::kFound;
        return progress_;
    }
    key_ = {KeySource::kAnchor, anchor()};
    progress_ = Progress::kFound;
    return progress_;
}

std::string BodyScan::anchor() {
    Sha256 all;
    all.add("hearth anchor 1");
    for (Sha256* part : {&model_, &tools_, &system_, &prompt_}) all.add(as_text(part->digest()));
    if (first_user_) all.add(as_text(*first_user_));
    return std::string(as_text(all.digest()));
}

}  // namespace hearth
