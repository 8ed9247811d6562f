#include "formats/format.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "formats/read_only.h"
#include "formats/table.h"

namespace hunch {
namespace {

// Types that files may hold and of which hunch knows how long they are.
constexpr Format kOnlyNamed[] = {
    {DType::kQ8_1, "q8_1", 32, 36}, {DType::kQ8_K, "q8_k", 256, 292}, {DType::kI8, "i8", 1, 1},
    {DType::kI16, "i16", 1, 2},     {DType::kI32, "i32", 1, 4},       {DType::kI64, "i64", 1, 8},
    {DType::kF64, "f64", 1, 8},
};

constexpr auto kTable = []<class... F>(FormatList<F...>) {
  std::array<Format, sizeof...(F) + std::size(kReadOnly) + std::size(kOnlyNamed)> table{F::kFormat...};
  std::ranges::copy(kReadOnly, table.begin() + sizeof...(F));
  std::ranges::copy(kOnlyNamed, table.end() - std::size(kOnlyNamed));
  return table;
}(Computing());

// A type's number among ggml's and hunch's own, which begin far behind; past the last of them: no type.
constexpr uint32_t kNumGgmlTypes = 64;
constexpr uint32_t number_of(DType dtype) {
  const auto id = uint32_t(dtype);
  return id < kNumGgmlTypes     ? id
         : id >= kFirstOwnDType ? std::min(id - kFirstOwnDType, kNumOwnDTypes) + kNumGgmlTypes
                                : kNumGgmlTypes + kNumOwnDTypes;
}

// Where the type with this number stands in the table, plus one; 0: nowhere.
constexpr auto kPlaces = [] {
  std::array<uint8_t, kNumGgmlTypes + kNumOwnDTypes + 1> places{};
  for (size_t i = 0; i < kTable.size(); ++i) places[number_of(kTable[i].dtype)] = uint8_t(i + 1);
  return places;
}();

}  // namespace

std::span<const Format> formats() { return kTable; }

const Format* find_format(DType dtype) {
  const size_t place = kPlaces[number_of(dtype)];
  return place ? &kTable[place - 1] : nullptr;
}

const Format& info(DType dtype) {
  const Format* format = find_format(dtype);
  HUNCH_CHECK(format, "dtype id {}", uint32_t(dtype));
  return *format;
}

const Format& codec(DType dtype) {
  const Format* known = find_format(dtype);
  if (known && known->reads()) return *known;
  fail(ErrorKind::kUnsupported, "element type {} cannot be decoded; hunch reads {}",
       known ? known->name : fmt::format("number {}", uint32_t(dtype)), fmt::join(format_names(&Format::reads), ", "));
}

const char* name_of(DType dtype) { return info(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Format& format : kTable)
    if (name == format.name) return format.dtype;
  return std::nullopt;
}

std::vector<std::string> format_names(const std::function<bool(const Format&)>& which) {
  std::vector<std::string> names;
  for (const Format& format : kTable)
    if (which(format)) names.push_back(format.name);
  return names;
}

size_t row_bytes(DType dtype, size_t n_elems) {
  const Format& format = info(dtype);
  HUNCH_CHECK(n_elems % format.block_elems == 0, "{} elements of {}", n_elems, format.name);
  return n_elems / format.block_elems * format.block_bytes;
}

}  // namespace hunch
