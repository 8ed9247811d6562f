// Numbers that nobody foresees: seeds and ids.
#pragma once
#include <cstdint>
#include <random>

namespace hunch::serve {

inline uint64_t random_number() {
  thread_local std::mt19937_64 generator{[] {
    std::random_device device;
    return uint64_t(device()) << 32 | device();
  }()};
  return generator();
}

}  // namespace hunch::serve
