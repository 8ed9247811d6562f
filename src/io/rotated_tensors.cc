#include "io/rotated_tensors.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {
constexpr std::string_view kRotated = ".rotated";
}  // namespace

std::string_view rotated_name(std::string_view tensor) {
  return tensor.ends_with(kRotated) ? tensor.substr(0, tensor.size() - kRotated.size()) : std::string_view();
}

RotatedNames take_rotated(ModelFile& file) {
  RotatedNames names;
  for (Tensor& t : file.tensors) {
    const std::string name(rotated_name(t.name));
    if (name.empty()) continue;
    if (file.find(name + ".weight"))
      fail(ErrorKind::kFormat, "the file has both '{}.weight' and '{}'", printable(name), printable(t.name));
    if (t.shape.size() < 2)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix", printable(t.name),
           fmt::join(t.shape, ", "));
    if (t.dtype == DType::kI8 || name == "token_embd" || name.find("ffn_down_t") != name.npos)
      fail(ErrorKind::kFormat,
           "tensor '{}' cannot be stored for rotated inputs: its rows are not multiplied as they are",
           printable(t.name));
    t.name = name + ".weight";
    names.insert(t.name);
  }
  file.index();
  return names;
}

}  // namespace hunch
