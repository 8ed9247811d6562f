#include "formats/format.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "formats/table.h"

namespace hunch {
namespace {

constexpr auto kTable = []<class... F>(FormatList<F...>) {
  std::array<Format, sizeof...(F) + std::size(kOnlyNamed)> table{F::kFormat...};
  std::ranges::copy(kOnlyNamed, table.begin() + sizeof...(F));
  return table;
}(Computing());

// Where the type with this number stands in the table, plus one; 0: nowhere.
constexpr auto kPlaces = [] {
  std::array<uint8_t, 64> places{};
  for (size_t i = 0; i < kTable.size(); ++i) places[size_t(kTable[i].dtype)] = uint8_t(i + 1);
  return places;
}();

}  // namespace

std::span<const Format> formats() { return kTable; }

const Format* find_format(DType dtype) {
  const size_t place = size_t(dtype) < kPlaces.size() ? kPlaces[size_t(dtype)] : 0;
  return place ? &kTable[place - 1] : nullptr;
}

const Format& info(DType dtype) {
  const Format* format = find_format(dtype);
  HUNCH_CHECK(format, "dtype id {}", uint32_t(dtype));
  return *format;
}

const Format& codec(DType dtype) {
  const Format* known = find_format(dtype);
  if (known && known->computes()) return *known;
  fail(ErrorKind::kUnsupported, "element type {} cannot be computed with; hunch computes with {}",
       known ? known->name : fmt::format("number {}", uint32_t(dtype)),
       fmt::join(format_names(&Format::computes), ", "));
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
