// BodyScan: finds the session key of a chat request in its body while the body streams by.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "common/wire/digest.h"
#include "router/session/json_scanner.h"
#include "router/session/session_key.h"

namespace hearth {

// Owned by one request. Every byte is looked at once; memory is bounded whatever the body is. Stops
// at a prompt_cache_key, the first of the body's sources; a source further down the list may still
// be beaten by one that comes later, so for those the whole body is read and its syntax checked.
// Where a field comes in the body, and how its text is escaped, makes no difference; a name that is
// given twice counts the first time.
class BodyScan {
  public:
    // `user_counts`: `user` and `safety_identifier` name a session too (one per user: coarse).
    // `want`: a scan for the model alone stops at it and has no key.
    enum class Want { kKey, kModel, kBoth };
    explicit BodyScan(bool user_counts, Want want = Want::kKey)
        : user_counts_(user_counts), want_(want) {}

    enum class Progress { kMore, kFound, kBad };
    Progress feed(std::string_view bytes);
    Progress finish();  // The body is over: kFound or kBad.

    const RawKey& key() const { return key_; }                     // After kFound.
    const std::string& model() const { return model_name_; }       // After kFound; empty = none.
    const std::string& error() const { return error_; }            // After kBad; safe to send back.
    std::string_view error_param() const { return error_param_; }  // The field at fault, or empty.

  private:
    // What an open object or array is.
    enum class Place : unsigned char {
        kRoot,
        kMetadata,
        kConversation,
        kMessages,
        kMessage,
        kParts,
        kPart,
        kHashed,
        kSkipped,
    };
    // What a value is, by its place and key. The first seven are the body's sources, best first.
    enum class Field : unsigned char {
        kPromptCacheKey,
        kPreviousResponse,
        kConversation,
        kSessionId,
        kMetadataSession,
        kUser,
        kSafetyIdentifier,
        kMetadata,
        kModel,
        kTools,
        kPrompt,
        kInput,
        kInstructions,
        kMessages,
        kMessage,
        kRole,
        kContent,
        kPart,
        kPartText,
        kPartOther,
        kHashed,
        kSkipped,
    };
    static constexpr std::size_t kSources = 7;

    void take(const JsonScanner::Piece& piece);
    void end_key();
    Field field_of(Place place, std::string_view key) const;
    Field value_field() const;
    Place place_of(Field field, bool object);
    void open(bool object);
    void close(bool object);
    void take_bytes(Field field, std::string_view bytes);
    void end_scalar(Field field, bool text);
    void end_message();
    Sha256* hash_of(Field field);
    Progress decide();
    Progress fail(std::string message, std::string_view param);
    std::string anchor();

    const bool user_counts_;
    const Want want_;
    JsonScanner scanner_;
    Progress progress_ = Progress::kMore;
    RawKey key_;
    std::string error_;
    std::string_view error_param_;
    std::size_t bytes_fed_ = 0;

    std::array<Place, kScanDepthMax> places_{};  // Of the open levels.
    std::size_t depth_ = 0;
    std::string name_;                         // Of the member being read; bounded.
    Field field_ = Field::kSkipped;            // Of the member whose name was read last.
    std::string capture_;                      // A value being read; bounded.
    std::array<std::string, kSources> found_;  // Empty = absent.

    std::string model_name_;  // Bounded.
    bool has_model_ = false;

    Sha256 model_, tools_, system_, prompt_;
    Sha256 text_, other_;        // Of the message being read.
    Sha256* hashing_ = nullptr;  // Takes what is inside a kHashed place.
    std::string role_;
    std::optional<Sha256::Digest> first_user_;
};

}  // namespace hearth
