// The MLPs of a model that is larger than the memory for it: matrices that stay in their file, and the memory that is
// left for them.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "formats/format.h"
#include "io/int8_tensor.h"
#include "linear/on_demand.h"
#include "linear/weight_disk.h"
#include "model/weight_loader.h"

namespace hunch {

// Rows of a tensor as they lie in the file.
struct WeightLoader::Stretch {
  const std::filesystem::path* path;
  uint64_t offset;  // of the first row
  WeightView shape;
  size_t n_bytes() const { return shape.rows * shape.row_stride_bytes; }
};

// None where it is no such tensor, or not computed as the file has it.
std::optional<WeightLoader::Stretch> WeightLoader::stretch(const std::string& name, size_t first_row, size_t n_rows,
                                                           size_t n_cols) {
  const Tensor* t = file_.find(name);
  if (!t || t->cols() != n_cols || t->rows() < first_row + n_rows || !info(t->dtype).computes() || is_int8(file_, *t) ||
      ternary_scale(file_, *t) || forms_.has(name))
    return std::nullopt;
  for (size_t i = 0; i < file_.maps.size(); ++i) {
    const std::span<const std::byte> map = file_.maps[i];
    if (t->data.data() < map.data() || t->data.data() + t->data.size() > map.data() + map.size()) continue;
    WeightView shape = t->view().row_range(first_row, n_rows);
    const uint64_t offset = uint64_t(shape.data - map.data());
    shape.data = nullptr;
    return Stretch{&options_.disk->files[i], offset, shape};
  }
  return std::nullopt;
}

void WeightLoader::plan_disk() {
  const DiskOptions& disk = *options_.disk;
  uint64_t n_bytes = 0;
  for (const Tensor& t : file_.tensors) n_bytes += t.data.size();
  if (n_bytes <= disk.n_bytes) return;  // they fit
  if (options_.ranks)
    fail(
        ErrorKind::kUnsupported,
        "of a model that is divided (ranks), every process holds its part: weights are not read on demand (ram) there");
  if (file_.maps.empty() || file_.maps.size() != disk.files.size())
    fail(ErrorKind::kUnsupported,
         "only the weights of GGUF files are read on demand (ram); `hunch convert` makes one of a folder");
  if (options_.reblock_down)
    fail(ErrorKind::kUsage, "weights that are read on demand (ram) are read as the file has them: no reblock_down");
  w_.disk = std::make_shared<WeightDisk>(disk.reader ? disk.reader() : make_disk_reader());
  if (disk.bundles.empty()) return;
  bundles_ = open_bundles(disk.bundles, file_);
}

void WeightLoader::divide_memory() {
  // Of an embedding that nothing is multiplied by, a token reads a row, through the map.
  const uint64_t looked_up = file_.find("output.weight") ? w_.token_embd.bytes() : 0;
  const uint64_t on_demand = w_.disk->on_disk_bytes(), resident = w_.bytes - on_demand - looked_up;
  const uint64_t room = options_.disk->n_bytes;
  if (on_demand == 0)
    fail(ErrorKind::kUnsupported,
         "the weights take {} MB, which are more than the {} MB for them (ram), and none of this model are read on "
         "demand: that is for matrices of MLPs and experts that are computed as a GGUF file has them",
         w_.bytes >> 20, room >> 20);
  if (resident >= room)
    fail(ErrorKind::kMemory,
         "{} MB of the weights are all but the MLPs', which stay in memory: more than the {} MB for all of them (ram)",
         resident >> 20, room >> 20);
  w_.disk->set_room(room - resident);
}

std::optional<Mlp> WeightLoader::mlp_on_demand(const LayerConfig& c, uint32_t expert, const std::string& name,
                                               const std::string& suffix, size_t n_ff, size_t width) {
  if (!w_.disk) return std::nullopt;
  const bool routed = expert < LinearId::kShared;
  if (!routed && std::ranges::any_of(c_.layers, [](const LayerConfig& l) { return l.has_experts(); }))
    return std::nullopt;  // every token goes there: it stays
  const auto tensor_name = [&](const char* matrix) { return name + matrix + suffix + ".weight"; };
  const size_t nth = routed ? expert : 0;
  const std::string turned = tensor_name("_down_t"), both = tensor_name("_gate_up");
  const bool by_input = file_.find(turned) != nullptr;
  const bool fused = c.gated && !file_.find(tensor_name("_gate"));  // gate first, in the tensor of up or of both
  const std::string fused_name = file_.find(both) ? both : tensor_name("_up");
  struct Matrix {
    Role role;
    std::string name;
    size_t first;  // row
    std::optional<Stretch> at;
    std::unique_ptr<Linear> Mlp::*to;
  };
  std::vector<Matrix> all;
  const auto want = [&](Role role, const std::string& of, size_t first, size_t rows, size_t cols, auto to) {
    all.push_back({role, of, first, stretch(of, first, rows, cols), to});
  };
  if (fused) {
    want(Role::kGate, fused_name, 2 * nth * n_ff, n_ff, width, &Mlp::gate);
    want(Role::kUp, fused_name, (2 * nth + 1) * n_ff, n_ff, width, &Mlp::up);
  } else {
    if (c.gated) want(Role::kGate, tensor_name("_gate"), nth * n_ff, n_ff, width, &Mlp::gate);
    want(Role::kUp, tensor_name("_up"), nth * n_ff, n_ff, width, &Mlp::up);
  }
  if (by_input) {
    want(Role::kDown, turned, nth * n_ff, n_ff, width, &Mlp::down);
  } else {
    want(Role::kDown, tensor_name("_down"), nth * width, width, n_ff, &Mlp::down);
  }
  if (!std::ranges::all_of(all, [](const Matrix& m) { return m.at.has_value(); })) return std::nullopt;
  if (c.makes_zeros() && !by_input && is_plain(all.back().at->shape.dtype))
    fail(ErrorKind::kUnsupported,
         "tensor '{}' would be turned when it is loaded, which takes it all; weights that are read on demand (ram) lie "
         "by neuron: `hunch convert MODEL --layout neuron -o FILE.gguf`",
         all.back().name);
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role, expert}; };

  uint32_t neurons = OnDemand::kNone;
  if (!routed) {  // an expert comes as a whole
    const Tensor* bundle = bundles_ ? bundles_->of(uint32_t(c.index)) : nullptr;
    size_t n_row = 0;
    std::vector<NeuronPart> parts;
    for (const Matrix& m : all) {
      const size_t stride = m.at->shape.row_stride_bytes;
      if (m.role != Role::kDown || by_input)
        parts.push_back({&w_.disk->open(*m.at->path), m.at->offset, stride, stride});
      n_row += stride;
    }
    if (bundle) {
      if (!by_input || bundle->rows() != n_ff || bundle->cols() != n_row)
        fail(ErrorKind::kFormat, "'{}': tensor '{}' is [{}], expected [{}, {}]", bundles_->path.string(), bundle->name,
             fmt::join(bundle->shape, ", "), n_ff, n_row);
      w_.disk->set_has_bundles();
      uint64_t at = uint64_t(bundle->data.data() - bundles_->file.maps[0].data());
      for (NeuronPart& part : parts) {
        part = {&w_.disk->open(bundles_->path), at, n_row, part.n_bytes};
        at += part.n_bytes;
      }
    }
    neurons = w_.disk->add_neurons(uint32_t(c.index), n_ff, std::move(parts));
  }
  Mlp out;
  out.n_ff = n_ff;
  for (size_t part = 0; part < all.size(); ++part) {
    const Matrix& m = all[part];
    const bool down = m.role == Role::kDown;
    TensorRows where = tensor(m.name, m.first);
    where.n_out = down ? width : n_ff;
    where.n_in = down ? n_ff : width;
    if (down && by_input) {
      where.name = tensor_name("_down");
      where.first = nth * width;
      where.by_input = true;
    }
    const bool has_rows = neurons != OnDemand::kNone && (!down || by_input);
    const uint32_t piece =
        w_.disk->add_piece(id(m.role), w_.disk->open(*m.at->path), m.at->offset, m.at->n_bytes(), routed);
    const uint32_t rows = w_.disk->add_rows(w_.disk->open(*m.at->path), m.at->offset, m.at->n_bytes());
    // Fused matrices have no bias of their own, as where they are mapped.
    const std::string bias_name = where.name.substr(0, where.name.size() - 6) + "bias";
    Vector bias;
    if (!(fused && !down) && file_.find(bias_name)) {
      const Vector biases = vector(bias_name, routed ? c.moe.n_expert * where.n_out : where.n_out);
      const auto begin = biases.begin() + ptrdiff_t(nth * where.n_out);
      bias.assign(begin, begin + ptrdiff_t(where.n_out));
    }
    out.*m.to = std::make_unique<OnDemand>(id(m.role),
                                           OnDemand::Place{w_.disk.get(), piece, rows, m.at->shape, down && by_input,
                                                           has_rows ? neurons : OnDemand::kNone, part},
                                           std::move(bias));
    w_.tensors[id(m.role)] = std::move(where);
  }
  if (c.makes_zeros()) w_.down_layout = by_input ? DownLayout::kTransposed : DownLayout::kKept;
  return out;
}

bool WeightLoader::experts_on_demand(const std::string& blk, const LayerConfig& c, Experts& e) {
  for (uint32_t i = 0; i < e.experts.size(); ++i) {
    auto mlp = mlp_on_demand(c, i, blk + "ffn", "_exps", c.moe.n_ff, c.moe.width(c.n_embd));
    if (!mlp) return false;  // the first one says it for all
    e.experts[i] = std::move(*mlp);
  }
  return true;
}

}  // namespace hunch
