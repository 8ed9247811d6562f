#include "parallel/message.h"

#include <algorithm>
#include <array>

namespace hunch {
namespace {

// What fits into the first broadcast, whose size all know: a step that decodes one token does.
constexpr size_t kFirstBytes = 512;
using FirstPart = std::array<std::byte, kFirstBytes>;
constexpr size_t kRoom = kFirstBytes - sizeof(uint64_t);

}  // namespace

void Message::send(Communicator& ranks) {
  FirstPart first{};
  const uint64_t n = bytes_.size();
  std::memcpy(first.data(), &n, sizeof n);
  std::copy_n(bytes_.begin(), std::min<size_t>(n, kRoom), first.begin() + sizeof n);
  ranks.broadcast(first, Wait::kIdle);
  if (n > kRoom) ranks.broadcast(std::span(bytes_).subspan(kRoom), Wait::kBusy);
  bytes_.clear();
}

Message Message::receive(Communicator& ranks) {
  FirstPart first;
  ranks.broadcast(first, Wait::kIdle);
  uint64_t n = 0;
  std::memcpy(&n, first.data(), sizeof n);
  Message message;
  message.bytes_.resize(n);
  std::copy_n(first.begin() + sizeof n, std::min<size_t>(n, kRoom), message.bytes_.begin());
  if (n > kRoom) ranks.broadcast(std::span(message.bytes_).subspan(kRoom), Wait::kBusy);
  return message;
}

}  // namespace hunch
