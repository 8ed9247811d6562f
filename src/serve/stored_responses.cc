#include "serve/stored_responses.h"

#include <algorithm>

namespace hunch::serve {

std::list<StoredResponses::Kept>::iterator StoredResponses::find(const std::string& id) {
  const auto found = std::ranges::find(kept_, id, &Kept::id);
  if (found != kept_.end()) kept_.splice(kept_.end(), kept_, found);
  return found;
}

void StoredResponses::keep(const std::string& id, const Json& response, const Json& messages) {
  Kept kept{id, dump(response), dump(messages)};
  const std::lock_guard lock(mutex_);
  if (kept.bytes() > most_bytes_) return;
  bytes_ += kept.bytes();
  kept_.push_back(std::move(kept));
  while (kept_.size() > most_ || bytes_ > most_bytes_) {
    bytes_ -= kept_.front().bytes();
    kept_.pop_front();
  }
}

std::optional<Json> StoredResponses::response(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = find(id);
  return found == kept_.end() ? std::nullopt : std::optional(Json::parse(found->response));
}

std::optional<Json> StoredResponses::messages(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = find(id);
  return found == kept_.end() ? std::nullopt : std::optional(Json::parse(found->messages));
}

bool StoredResponses::forget(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = find(id);
  if (found == kept_.end()) return false;
  bytes_ -= found->bytes();
  kept_.erase(found);
  return true;
}

RequestError response_not_found(const std::string& id) {
  return RequestError(404,
                      fmt::format("there is no response '{}': it was not stored, was forgotten to make room, or the "
                                  "server has started since",
                                  id),
                      "response_id", "not_found");
}

}  // namespace hunch::serve
