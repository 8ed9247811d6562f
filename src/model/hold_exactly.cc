#include "model/hold_exactly.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "io/printable.h"

namespace hunch {
namespace {

bool is_held(const ModelFile& file, const Tensor& t) {
  return info(t.dtype).load != nullptr && !ternary_scale(file, t);  // which become ternary ones, from any type
}
uint64_t held_bytes(const Tensor& t) { return t.rows() * row_bytes(info(t.dtype).loads_as, t.cols()); }

}  // namespace

const Tensor* ternary_scale(const ModelFile& file, const Tensor& t) {
  constexpr std::string_view kWeight = ".weight";
  if (t.dtype == DType::kNVFP4 || !t.name.ends_with(kWeight)) return nullptr;
  const Tensor* scale = file.find(t.name.substr(0, t.name.size() - kWeight.size()) + ".scale");
  return scale && scale->n_elems() == 1 ? scale : nullptr;
}

HeldOtherwise held_otherwise(const ModelFile& file) {
  HeldOtherwise held;
  for (const Tensor& t : file.tensors) {
    if (!is_held(file, t)) continue;
    ++held.n_tensors;
    held.file_bytes += t.data.size();
    held.memory_bytes += held_bytes(t);
    held.types.insert(t.dtype);
    held.held_as = info(t.dtype).loads_as;
  }
  return held;
}

std::string describe(const HeldOtherwise& held) {
  if (held.n_tensors == 0) return "";
  std::vector<const char*> names;
  for (const DType dtype : held.types) names.push_back(name_of(dtype));
  return fmt::format(
      "{} tensor{} of {} {} held in memory as {}, with the same values: {:.1f} MB of the file take {:.1f} MB",
      held.n_tensors, held.n_tensors == 1 ? "" : "s", fmt::join(names, ", "), held.n_tensors == 1 ? "is" : "are",
      name_of(held.held_as), double(held.file_bytes) / 1e6, double(held.memory_bytes) / 1e6);
}

ModelFile hold_exactly(const ModelFile& file, Compute& compute) {
  ModelFile out = file;
  const HeldOtherwise held = held_otherwise(file);
  if (held.n_tensors == 0) return out;
  require_memory(held.memory_bytes, describe(held), "a file in a type that hunch computes with needs no copy");
  for (Tensor& t : out.tensors) {
    if (!is_held(file, t)) continue;
    const Format& from = info(t.dtype);
    const size_t stride = row_bytes(from.loads_as, t.cols()), from_stride = row_bytes(t.dtype, t.cols());
    auto memory = std::make_shared<AlignedBuffer>(held_bytes(t));
    compute.threads.parallel_for(t.rows(), 16, [&](size_t begin, size_t end) {
      compute.throw_if_stopped();
      for (size_t r = begin; r < end; ++r)
        from.load(t.data.data() + r * from_stride, memory->data() + r * stride, t.cols());
    });
    const auto holds_it = [&](std::span<const std::byte> map) {
      return t.data.data() >= map.data() && t.data.data() < map.data() + map.size();
    };
    if (std::ranges::any_of(file.maps, holds_it)) MappedFile::release(t.data);
    t.dtype = from.loads_as;
    t.data = memory->bytes();
    out.owners.push_back(std::move(memory));
  }
  return out;
}

void check_types(const ModelFile& file) {
  for (const Tensor& t : file.tensors) {
    const Format& format = info(t.dtype);
    if (!format.reads() && format.block_elems > 1)
      fail(ErrorKind::kUnsupported, "tensor '{}' is {}, which hunch does not compute with; weights may be {}",
           printable(t.name), format.name, types_of_weights());
  }
}

std::string types_of_weights() {
  const auto names = format_names([](const Format& f) { return f.reads() && !f.in_memory_only; });
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace hunch
