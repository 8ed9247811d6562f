#include "model/fingerprint.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/sha256.h"
#include "base/throw_if_stopped.h"
#include "formats/format.h"

namespace hunch {
namespace {

std::vector<const Tensor*> by_name(const ModelFile& file) {
  std::vector<const Tensor*> tensors;
  for (const Tensor& t : file.tensors) tensors.push_back(&t);
  std::ranges::sort(tensors, {}, [](const Tensor* t) -> const std::string& { return t->name; });
  return tensors;
}

std::string heading(const Tensor& t) {
  return fmt::format("{} {} [{}] {}\n", t.name, uint32_t(t.dtype), fmt::join(t.shape, ","), t.data.size());
}

}  // namespace

std::string tensor_sha256(const ModelFile& file, const Progress& progress, const Stop* stop) {
  uint64_t total = 0, done = 0;
  for (const Tensor& t : file.tensors) total += t.data.size();
  constexpr size_t kPiece = size_t{64} << 20;
  Sha256 hash;
  for (const Tensor* t : by_name(file)) {
    hash.update(heading(*t));
    for (size_t i = 0; i < t->data.size(); i += kPiece) {
      throw_if_stopped(stop);
      const auto piece = t->data.subspan(i, std::min(kPiece, t->data.size() - i));
      hash.update(piece);
      if (progress) progress("hash", done += piece.size(), total);
    }
  }
  return hash.finish_hex();
}

std::string tensor_fingerprint(const ModelFile& file) {
  constexpr size_t kSamples = 8, kBytes = 256;
  Sha256 hash;
  for (const Tensor* t : by_name(file)) {
    hash.update(heading(*t));
    const size_t length = std::min(kBytes, t->data.size());
    for (size_t i = 0; i < kSamples; ++i)
      hash.update(t->data.subspan((t->data.size() - length) / (kSamples - 1) * i, length));
  }
  return hash.finish_hex();
}

std::string vector_fingerprint(const ModelFile& file) {
  Sha256 hash;
  std::vector<float> values;
  bool any = false;
  for (const Tensor* t : by_name(file)) {
    if (t->shape.size() != 1 || !info(t->dtype).is_float() || !t->name.starts_with("blk.")) continue;
    values.resize(t->n_elems());
    codec(t->dtype).decode(t->data.data(), values.data(), values.size());
    hash.update(fmt::format("{} {}\n", t->name, values.size()));
    hash.update(std::as_bytes(std::span(values)));
    any = true;
  }
  return any ? hash.finish_hex() : "";
}

}  // namespace hunch
