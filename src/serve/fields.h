// The fields of a JSON object, each asked for by name, type and range. As in OpenAI's API, null is the same as absence,
// and what nobody asks for is ignored.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "serve/json.h"

namespace hunch::serve {

// All of these throw RequestError{400} whose `param` is the field's name.
class Fields {
 public:
  // `object` is one, and outlives this. `prefix` stands before names in errors: "stream_options."
  explicit Fields(const Json& object, std::string prefix = {}) : object_(object), prefix_(std::move(prefix)) {}

  // nullptr where it is absent or null.
  const Json* find(const char* name) const;
  bool has(const char* name) const { return find(name) != nullptr; }
  std::string name(const char* field) const { return prefix_ + field; }

  // A finite number in [least, most].
  double number(const char* name, double otherwise, double least, double most) const;
  // A whole number in [least, most]; 3.0 is one.
  int64_t integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const;
  bool flag(const char* name, bool otherwise) const;
  std::string text(const char* name, std::string otherwise = {}) const;
  std::string required_text(const char* name) const;
  // One of these words.
  std::string choice(const char* name, std::string otherwise, const std::vector<std::string>& allowed) const;
  // A text or a list of at most `most` texts; absent: none.
  std::vector<std::string> texts(const char* name, size_t most) const;
  // A list of token ids; they are whole numbers that fit into 32 bits, and nothing more is known of them.
  std::vector<int32_t> ids(const char* name) const;
  // {"ID": BIAS}.
  std::map<int32_t, float> biases(const char* name) const;
  // An object; absent: an empty one.
  const Json& object(const char* name) const;

 private:
  const Json& object_;
  std::string prefix_;
};

// The ids of a JSON list; errors name `param`.
std::vector<int32_t> ids_of(const Json& list, const std::string& param);

}  // namespace hunch::serve
