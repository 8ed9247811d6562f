// N of "vulkan:N".
#pragma once
#include <charconv>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {

enum class DeviceKind { kCpu, kAuto, kVulkan };
struct DeviceName {
  DeviceKind kind = DeviceKind::kCpu;
  size_t index = 0;
};

// Throws Error{kUsage}.
inline DeviceName device_name_from(std::string_view text) {
  if (text == "cpu") return {DeviceKind::kCpu, 0};
  if (text == "auto") return {DeviceKind::kAuto, 0};
  constexpr std::string_view kPrefix = "vulkan:";
  if (text.starts_with(kPrefix)) {
    const std::string_view digits = text.substr(kPrefix.size());
    size_t index = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size()) return {DeviceKind::kVulkan, index};
  }
  fail(ErrorKind::kUsage, "unknown device (device) '{}', expected cpu, auto or vulkan:N", printable(text));
}

}  // namespace hunch
