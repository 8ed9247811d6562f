// Multi-head latent attention, with its matrices taken into queries and outputs (DeepSeek-V2, arXiv:2405.04434, section
// 2.1.2): neither keys nor values of heads are ever made.
#include "linear/project.h"
#include "model/layer.h"

namespace hunch {

// Queries [n_tokens, n_head * d_head] and keys [n_tokens, d_head], each head what is rotated and then what is latent.
void Attention::project_latent(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> queries,
                               MatView<float> keys) const {
  const Arena::Scope scope(s.compute.arena);
  const Tokens tokens = s.all().traits;
  const size_t rank = c.latent.rank, n_rot = c.d_head - rank, d_plain = c.latent.d_plain, d_q = d_plain + n_rot;
  const RowSet inputs = s.rows(c.index, Point::kInputs, s.all(), x, InputPart::kAttention);
  const MatView<float> plain = s.take(x.rows, c.n_head * d_q), latents = s.take(x.rows, rank + n_rot);
  if (latent.q_down) {
    const MatView<float> narrow = s.take(x.rows, c.latent.rank_q);
    const Product both[] = {{latent.q_down.get(), narrow}, {latent.kv.get(), latents}};
    project(s.compute, tokens, x, inputs, both);
    norm_rows(s.compute, NormKind::kRms, c.latent.norm_eps, narrow, latent.q_norm, narrow);
    latent.q_up->dot(s.compute, tokens, narrow, {}, plain);
  } else {
    const Product both[] = {{q.get(), plain}, {latent.kv.get(), latents}};
    project(s.compute, tokens, x, inputs, both);
  }
  norm_rows(s.compute, NormKind::kRms, c.latent.norm_eps, latents.col_range(0, rank), latent.kv_norm,
            keys.col_range(n_rot, rank));
  copy_rows(latents.col_range(rank, n_rot), keys.col_range(0, n_rot));
  for (size_t h = 0; h < c.n_head; ++h) {
    const MatView<float> query = queries.col_range(h * c.d_head, c.d_head);
    copy_rows(plain.col_range(h * d_q + d_plain, n_rot), query.col_range(0, n_rot));
    latent.key[h]->dot(s.compute, tokens, plain.col_range(h * d_q, d_plain), {}, query.col_range(n_rot, rank));
  }
}

// What attention summed, [n_tokens, n_head * d_head], as heads of values [n_tokens, n_head * d_value].
MatView<float> Attention::values_of_latents(Step& s, const LayerConfig& c, MatView<const float> heads) const {
  const size_t rank = c.latent.rank, d_value = c.latent.d_value;
  const MatView<float> values = s.take(heads.rows, c.n_head * d_value);
  for (size_t h = 0; h < c.n_head; ++h)
    latent.value[h]->dot(s.compute, s.all().traits, heads.col_range(h * c.d_head + c.d_head - rank, rank), {},
                         values.col_range(h * d_value, d_value));
  return values;
}

}  // namespace hunch
