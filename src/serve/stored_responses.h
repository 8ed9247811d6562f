// Responses that clients may go on from or ask for again. Of many, those unused for longest are forgotten.
#pragma once
#include <list>
#include <mutex>
#include <optional>
#include <string>

#include "serve/json.h"
#include "serve/request_error.h"

namespace hunch::serve {

// Any thread's.
class StoredResponses {
 public:
  explicit StoredResponses(size_t most = 1024, size_t most_bytes = 64 << 20) : most_(most), most_bytes_(most_bytes) {}

  // `messages`: the conversation up to its answer, without instructions.
  void keep(const std::string& id, const Json& response, const Json& messages);
  std::optional<Json> response(const std::string& id);
  std::optional<Json> messages(const std::string& id);
  // Whether it was there.
  bool forget(const std::string& id);

 private:
  struct Kept {
    std::string id, response, messages;  // as text: a tenth of the room
    size_t bytes() const { return id.size() + response.size() + messages.size(); }
  };
  std::list<Kept>::iterator find(const std::string& id);

  const size_t most_, most_bytes_;
  std::mutex mutex_;
  std::list<Kept> kept_;  // the one that was used last at the end
  size_t bytes_ = 0;
};

// What is said of one that is not there: status 404.
RequestError response_not_found(const std::string& id);

}  // namespace hunch::serve
