// MLPs and experts, from a file's tensors.
#include "base/error.h"
#include "formats/format.h"
#include "linear/stored.h"
#include "model/weight_loader.h"

namespace hunch {

void WeightLoader::arrange_down(const LayerConfig& c, Linear& whole) {
  if (!c.makes_zeros()) return;
  Stored* const rows = whole.factor(Axis::kIn).stored();
  if (!rows) {  // lies as it needs to
    w_.down_layout = whole.reads_less_by_input(1) ? DownLayout::kTransposed : DownLayout::kKept;
    return;
  }
  Stored& down = *rows;
  const DType stored = down.rows().dtype;
  const bool plain = is_plain(stored);
  // What is held without loss is not rounded anew without being asked.
  const bool reblocks = options_.reblock_down && !info(stored).in_memory_only;
  if (!plain && (!reblocks || down.n_out % info(DType::kQ8_0).block_elems != 0)) {
    w_.down_layout = DownLayout::kKept;
    return;
  }
  w_.down_layout = plain ? DownLayout::kTransposed : DownLayout::kReblocked;
  turns_.push_back({&down, plain ? stored : DType::kQ8_0});
}

Mlp WeightLoader::mlp(const LayerConfig& c, uint32_t expert, const std::string& name, const std::string& suffix,
                      size_t n_ff) {
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role, expert}; };
  if (auto m = mlp_on_demand(c, expert, name, suffix, n_ff, c.n_embd)) return std::move(*m);
  Mlp m;
  if (c.gated && !has(name + "_gate" + suffix)) {  // Phi-3: gate and up in one tensor, gate first
    const std::string fused = name + "_up" + suffix + ".weight";
    const WeightView both = weights(fused, 2 * n_ff, c.n_embd);
    m.gate = stored(id(Role::kGate), tensor(fused), both.row_range(0, n_ff));
    m.up = stored(id(Role::kUp), tensor(fused, n_ff), both.row_range(n_ff, n_ff));
  } else {
    m.up = linear(id(Role::kUp), name + "_up" + suffix, n_ff, c.n_embd, true);
    if (c.gated) m.gate = linear(id(Role::kGate), name + "_gate" + suffix, n_ff, c.n_embd, true);
  }
  m.n_ff = m.up->n_out;  // a rank's part of them
  // Written neuron-major by hunch.
  if (const std::string turned = name + "_down_t" + suffix + ".weight"; file_.find(turned)) {
    w_.tensors[id(Role::kDown)] = {name + "_down" + suffix + ".weight", turned, 0, c.n_embd, n_ff, true};
    WeightView by_neuron = matrix(turned, n_ff, c.n_embd);
    Vector bias = optional_vector(name + "_down" + suffix + ".bias", c.n_embd);
    cut_by_neuron(id(Role::kDown), by_neuron, bias);
    m.down = std::make_unique<Stored>(id(Role::kDown), WeightView(), by_neuron, std::move(bias), *w_.layouts);
    if (c.makes_zeros()) w_.down_layout = DownLayout::kTransposed;
    return m;
  }
  m.down = linear(id(Role::kDown), name + "_down" + suffix, c.n_embd, n_ff, true);
  arrange_down(c, *m.down);
  return m;
}

void WeightLoader::stack(LinearId id, const std::string& name, size_t rows, size_t cols, std::vector<Mlp>& experts,
                         std::unique_ptr<Linear> Mlp::*matrix) {
  const size_t n = experts.size();
  const Vector biases = optional_vector(name + ".bias", n * rows);
  const auto bias = [&] {
    if (biases.empty()) return Vector();
    const auto begin = biases.begin() + ptrdiff_t(id.expert * rows);
    return Vector(begin, begin + ptrdiff_t(rows));
  };
  if (file_.find(low_rank_u(name))) {
    if (file_.find(name + ".weight"))
      fail(ErrorKind::kFormat, "the file has both '{}.weight' and '{}', which hunch adds up for dense MLPs only", name,
           low_rank_u(name));
    const Factors f = factors(name, {n}, rows, cols);
    for (id.expert = 0; id.expert < n; ++id.expert)
      experts[id.expert].*matrix =
          low_rank(id, name, f.U.row_range(id.expert * rows, rows), f.V.row_range(id.expert * f.rank, f.rank), bias());
    return;
  }
  if (has_sparse(file_, name)) {
    const SparseTensor all = sparse_tensor(name, {n, rows, cols});
    for (id.expert = 0; id.expert < n; ++id.expert)
      experts[id.expert].*matrix = sparse(id, all, id.expert * rows, rows, bias());
    return;
  }
  const Tensor& t = file_.get(name + ".weight");
  check_weights(t, {n, rows, cols});
  for (id.expert = 0; id.expert < n; ++id.expert)
    experts[id.expert].*matrix =
        stored(id, tensor(t.name, id.expert * rows), t.view().row_range(id.expert * rows, rows), bias());
}

void WeightLoader::turned_downs(const LayerConfig& c, const std::string& name, const std::string& as_rows,
                                std::vector<Mlp>& experts) {
  const size_t n_ff = c.moe.n_ff;
  const Tensor& t = file_.get(name);
  const size_t width = c.moe.width(c.n_embd);
  check_shape(t, {experts.size(), n_ff, width});
  LinearId id{uint32_t(c.index), Role::kDown};
  for (id.expert = 0; id.expert < experts.size(); ++id.expert) {
    w_.tensors[id] = {as_rows, name, id.expert * width, width, n_ff, true};
    WeightView by_neuron = t.view().row_range(id.expert * n_ff, n_ff);
    Vector no_bias;
    cut_by_neuron(id, by_neuron, no_bias);
    experts[id.expert].down = std::make_unique<Stored>(id, WeightView(), by_neuron, Vector(), *w_.layouts);
  }
  if (c.makes_zeros()) w_.down_layout = DownLayout::kTransposed;
}

void WeightLoader::stack_of_both(uint32_t layer, const std::string& name, const LayerConfig& c,
                                 std::vector<Mlp>& experts) {
  const size_t n_ff = c.moe.n_ff;
  const Tensor& t = file_.get(name);
  check_weights(t, {experts.size(), 2 * n_ff, c.moe.width(c.n_embd)});
  for (uint32_t e = 0; e < experts.size(); ++e) {
    const auto part = [&](Role role, size_t first) {
      return stored({layer, role, e}, tensor(name, first), t.view().row_range(first, n_ff));
    };
    experts[e].gate = part(Role::kGate, 2 * e * n_ff);
    experts[e].up = part(Role::kUp, (2 * e + 1) * n_ff);
  }
}

void WeightLoader::mapped_experts(const std::string& blk, const LayerConfig& c, std::vector<Mlp>& experts) {
  const size_t n_ff = c.moe.n_ff, width = c.moe.width(c.n_embd);
  const auto layer = uint32_t(c.index);
  if (file_.find(blk + "ffn_gate_up_exps.weight")) {
    stack_of_both(layer, blk + "ffn_gate_up_exps.weight", c, experts);
  } else {
    if (c.gated) stack({layer, Role::kGate}, blk + "ffn_gate_exps", n_ff, width, experts, &Mlp::gate);
    stack({layer, Role::kUp}, blk + "ffn_up_exps", n_ff, width, experts, &Mlp::up);
  }
  if (const std::string turned = blk + "ffn_down_t_exps.weight"; file_.find(turned)) {
    turned_downs(c, turned, blk + "ffn_down_exps.weight", experts);
  } else {
    stack({layer, Role::kDown}, blk + "ffn_down_exps", width, n_ff, experts, &Mlp::down);
    for (Mlp& m : experts) arrange_down(c, *m.down);
  }
  for (Mlp& m : experts) m.n_ff = m.up->n_out;
}

void WeightLoader::experts(const std::string& blk, const LayerConfig& c, Experts& e) {
  const size_t n = c.moe.n_expert, width = c.moe.width(c.n_embd);
  const auto layer = uint32_t(c.index);
  e.router = linear({layer, Role::kRouter}, blk + "ffn_gate_inp", n, c.n_embd, true);
  e.choice_bias = optional_vector(blk + "exp_probs_b.bias", n);
  if (c.moe.n_latent > 0) {
    e.latent_in = linear({layer, Role::kExpertsIn}, blk + "ffn_latent_down", width, c.n_embd, true);
    e.latent_out = linear({layer, Role::kExpertsOut}, blk + "ffn_latent_up", c.n_embd, width, true);
  }
  e.experts.resize(n);
  e.factors = optional_vector(blk + "ffn_down_exps.scale", n);
  if (!experts_on_demand(blk, c, e)) mapped_experts(blk, c, e.experts);
  if (c.moe.n_ff_shared == 0) return;
  e.shared = mlp(c, LinearId::kShared, blk + "ffn", "_shexp", c.moe.n_ff_shared);
  if (file_.find(blk + "ffn_gate_inp_shexp.weight")) {
    const Tensor& t = file_.get(blk + "ffn_gate_inp_shexp.weight");
    if (t.n_elems() != c.n_embd) check_shape(t, {1, c.n_embd});
    e.shared_gate = stored({layer, Role::kSharedGate}, tensor(t.name),
                           {t.dtype, t.data.data(), 1, c.n_embd, row_bytes(t.dtype, c.n_embd)});
  }
}

}  // namespace hunch
