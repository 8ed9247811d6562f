#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "train/gradients.h"
#include "train/save.h"

namespace hunch {
namespace {

std::span<const std::byte> bytes_of(const Parameter& p) { return std::as_bytes(std::span<const float>(p.values())); }

}  // namespace

void write_gguf_adapter(const std::filesystem::path& path, Network& network, const std::string& name) {
  std::vector<TensorToWrite> tensors;
  float alpha = 0;
  for (const auto& block : network.blocks())
    block->for_each_projection([&](Projection& p) {
      if (!p.low_rank()) return;
      const Projection::LowRank& own = *p.low_rank();
      if (own.magnitude) fail(ErrorKind::kUnsupported, "a GGUF adapter cannot hold DoRA: write a PEFT folder");
      alpha = own.options.scale() * float(own.options.rank);  // readers divide by the rank
      for (const Parameter* half : {own.A, own.B})
        tensors.push_back(
            {half->name, DType::kF32, {half->value.rows, half->value.cols}, [half] { return bytes_of(*half); }});
    });
  if (tensors.empty()) fail(ErrorKind::kUnsupported, "a GGUF adapter cannot hold IA3: write a PEFT folder");
  Metadata meta;
  meta.set("general.architecture", network.model().config().arch);
  meta.set("general.type", std::string("adapter"));
  meta.set("general.name", name);
  meta.set("adapter.type", std::string("lora"));
  meta.set("adapter.lora.alpha", alpha);
  write_gguf(path, meta, tensors);
}

namespace {

// Which parameter takes the place of a tensor of the file, how it is written, and whether the file has it turned.
struct Replacement {
  const Parameter* parameter;
  std::string name;
  std::vector<uint64_t> shape;
  DType dtype;
  bool turned;
  const Projection* rounded = nullptr;  // whose rows are clipped first
};

// By the tensors' names in the file.
std::map<std::string, Replacement> replacements_of(Network& network) {
  const Model& model = network.model();
  std::map<std::string, Replacement> out;
  for (const auto& p : network.parameters.all)
    if (const Tensor* t = model.file().find(p->name))
      out[t->name] = {p.get(), t->name, t->shape, t->dtype, false, nullptr};
  for (const auto& block : network.blocks())
    block->for_each_projection([&](Projection& p) {
      if (!p.weights()) return;
      const TensorRows& where = model.weights().tensors.at(p.base().id);
      const Tensor& t = model.file().get(where.stored);
      if (p.rounds_to()) {
        out[t.name] = {p.weights(), where.name, {where.n_out, where.n_in}, *p.rounds_to(), false, &p};
      } else if (where.by_input) {
        out[t.name] = {p.weights(), t.name, t.shape, t.dtype, true, nullptr};
      }
    });
  return out;
}

// Encodes parameters one after the other.
class ParameterEncoder {
 public:
  explicit ParameterEncoder(Compute& compute) : compute_(compute) {}

  // Valid until the next call.
  std::span<const std::byte> encode(const Replacement& r) {
    MatView<const float> W = r.parameter->value;
    if (r.turned) {
      const MatView<float> to(turned_.get<float>(W.rows * W.cols).data(), W.cols, W.rows);
      transpose(compute_, W, to);
      W = to;
    }
    const size_t stride = row_bytes(r.dtype, W.cols);
    const std::span<std::byte> out = encoded_.get<std::byte>(W.rows * stride);
    compute_.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
      std::vector<float> row(W.cols);
      for (size_t i = begin; i < end; ++i) {
        if (r.rounded) r.rounded->clipped_row(i, row);
        codec(r.dtype).encode(r.rounded ? row.data() : W.row(i).data(), out.data() + i * stride, W.cols);
      }
    });
    return out;
  }

 private:
  Compute& compute_;
  Scratch encoded_, turned_;
};

}  // namespace

void write_trained_model(const std::filesystem::path& path, Network& network) {
  const Model& model = network.model();
  const std::map<std::string, Replacement> trained = replacements_of(network);
  const auto n_clips =
      std::ranges::count_if(network.parameters.all, [](const auto& p) { return p->name.ends_with(".clip"); });
  HUNCH_CHECK(trained.size() + size_t(n_clips) >= network.parameters.all.size(), "{} of {} parameters have a tensor",
              trained.size(), network.parameters.all.size());
  ParameterEncoder encoder(network.compute());
  std::vector<TensorToWrite> tensors;
  for (const Tensor& t : model.file().tensors) {
    const auto found = trained.find(t.name);
    if (found == trained.end()) {
      tensors.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
    } else {
      const Replacement& r = found->second;
      tensors.push_back({r.name, r.dtype, r.shape, [&encoder, &r] { return encoder.encode(r); }});
    }
  }
  Metadata meta = model.file().meta;
  const TrainedBlock& block = *network.blocks()[0];
  if (network.became_relu()) {
    meta.set(model.config().arch + ".activation", std::string("relu"));
    if (block.threshold > 0) meta.set(model.config().arch + ".activation_threshold", block.threshold);
  }
  if (const std::optional<DType> rounded = block.up.rounds_to()) {
    meta.set("general.file_type", info(*rounded).file_type);
    meta.set("general.quantization_version", uint32_t(2));
  }
  write_gguf(path, meta, tensors);
}

}  // namespace hunch
