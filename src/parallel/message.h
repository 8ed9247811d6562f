// What rank 0 tells the others to do: numbers and lists of them, one after the other.
#pragma once
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "parallel/communicator.h"

namespace hunch {

// All ranks run the same program: values travel as they lie in memory.
class Message {
 public:
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof(T));
  }
  template <class T>
  void put_list(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    put(uint64_t{values.size()});
    const auto bytes = std::as_bytes(values);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put_text(std::string_view text) { put_list(std::span(text.data(), text.size())); }

  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  template <class T>
  std::vector<T> get_list() {
    const auto n = get<uint64_t>();
    HUNCH_CHECK(n <= bytes_.size() / sizeof(T), "a list of {} in {} bytes", n, bytes_.size());
    std::vector<T> values(n);
    if (n > 0) std::memcpy(values.data(), take(n * sizeof(T)), n * sizeof(T));
    return values;
  }
  std::string get_text() {
    const std::vector<char> text = get_list<char>();
    return {text.begin(), text.end()};
  }

  bool at_end() const { return next_ == bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // Rank 0's side and the others': what was put since the last time. The receiver's message is empty before.
  void send(Communicator& ranks);
  static Message receive(Communicator& ranks);

 private:
  const std::byte* take(size_t n) {
    HUNCH_CHECK(n <= bytes_.size() - next_, "{} bytes of {} are left", n, bytes_.size() - next_);
    const std::byte* from = bytes_.data() + next_;
    next_ += n;
    return from;
  }

  std::vector<std::byte> bytes_;
  size_t next_ = 0;
};

}  // namespace hunch
