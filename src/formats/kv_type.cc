#include "formats/kv_type.h"

#include <fmt/format.h>

#include "base/error.h"
#include "formats/format.h"

namespace hunch {
namespace {

constexpr std::string_view kRotatedSuffix = "-rot", kKivi = "kivi-";

bool can_rotate(const Format& format) { return format.caches && format.block_elems > 1; }

}  // namespace

std::string name_of(const KvType& type) {
  if (type.grouped()) return fmt::format("{}{}", kKivi, type.bits);
  return fmt::format("{}{}", name_of(type.dtype), type.rotated ? kRotatedSuffix : "");
}

std::vector<std::string> kv_type_names() {
  std::vector<std::string> names = format_names(&Format::caches);
  for (const std::string& name : format_names(can_rotate)) names.push_back(name + std::string(kRotatedSuffix));
  for (const char* bits : {"4", "2"}) names.push_back(std::string(kKivi) + bits);
  return names;
}

std::optional<KvType> kv_type_from_name(std::string_view name) {
  if (name == "kivi-2") return KvType::kivi(2);
  if (name == "kivi-4") return KvType::kivi(4);
  const bool rotated = name.ends_with(kRotatedSuffix);
  if (rotated) name.remove_suffix(kRotatedSuffix.size());
  const auto dtype = dtype_from_name(name);
  if (!dtype || !info(*dtype).caches || (rotated && !can_rotate(info(*dtype)))) return {};
  return rotated ? KvType::rotated_of(*dtype) : KvType(*dtype);
}

size_t kv_block(const KvType& type) { return type.grouped() ? kKvGroup : info(type.dtype).block_elems; }

size_t kv_key_bytes(const KvType& type, size_t d_head) { return kv_value_bytes(type, d_head); }

size_t kv_value_bytes(const KvType& type, size_t d_head) {
  // Of kKvGroup values a scale and a minimum in f16, and their codes.
  return type.grouped() ? d_head / kKvGroup * (4 + kKvGroup * type.bits / 8) : row_bytes(type.dtype, d_head);
}

void check_kv_type(const KvType& type, size_t d_head) {
  const Format& format = info(type.dtype);
  if (!format.computes() || !format.writes())
    fail(ErrorKind::kUnsupported, "the KV cache cannot be {}, which is not written here; use f16 or f32", format.name);
  if (d_head % kv_block(type) != 0)
    fail(ErrorKind::kUnsupported,
         "the KV cache cannot be {}: heads of {} values are not whole blocks of {}; use f16 or f32", name_of(type),
         d_head, kv_block(type));
}

}  // namespace hunch
