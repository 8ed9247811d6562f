#include "vulkan/kernels.h"

#include <algorithm>

#include "base/error.h"
#include "formats/format.h"

namespace hunch::vulkan {
namespace {

constexpr uint32_t kBias = 1, kAdd = 2, kList = 4;  // of products' flags, as shaders have them
constexpr uint32_t kMostGroups = 65535;             // of workgroups, which every device allows

uint32_t div_up(uint32_t n, uint32_t d) { return (n + d - 1) / d; }

std::string shader_of(const char* name, DType dtype) { return std::string(name) + "_" + name_of(dtype); }

// Tokens that share a reading of the weights.
uint32_t tokens_together(uint32_t n_tokens) { return n_tokens == 1 ? 1 : n_tokens == 2 ? 2 : n_tokens <= 4 ? 4 : 8; }

// Shares of the inputs, so that a card is busy with few tokens.
uint32_t n_axpy_parts(uint32_t n_tokens) { return std::max(4u, 64 / n_tokens); }
uint32_t n_attention_parts(uint32_t n_tokens) { return n_tokens <= 4 ? 8 : 1; }

}  // namespace

void Kernels::dot(const Matrix& W, const Piece& bias, const Values& x, const Values& y, uint32_t n_tokens,
                  const Onto& onto) {
  struct Push {
    uint64_t codes, scales, extra, bias, x, y, list;
    uint32_t n_rows, n_groups, x_stride, y_stride, n_tokens, flags;
    float scale;
  } push{W.codes.address,
         W.scales.address,
         W.extra.address,
         bias.address,
         x.piece.address,
         y.piece.address,
         onto.list.address,
         W.n_rows,
         W.n_groups(),
         x.stride,
         y.stride,
         n_tokens,
         (bias ? kBias : 0) | (onto.add ? kAdd : 0) | (onto.list ? kList : 0),
         onto.scale};
  HUNCH_CHECK(!onto.list || n_tokens == 1, "a list of rows for {} tokens", n_tokens);
  constexpr uint32_t kThreads = 128, kTileRows = 64, kTileTokens = 32;  // shaders/matmul.comp
  if (n_tokens >= kTileTokens / 2) {
    commands_.dispatch(gpu_->pipeline(shader_of("matmul", W.dtype)), push, div_up(W.n_rows, kTileRows),
                       div_up(n_tokens, kTileTokens));
    return;
  }
  const uint32_t together = tokens_together(n_tokens), rows = std::max(1u, kThreads / gpu_->subgroup_size());
  commands_.dispatch(gpu_->pipeline(shader_of("matvec", W.dtype), together), push,
                     std::min(div_up(W.n_rows, rows), kMostGroups), div_up(n_tokens, together));
}

uint64_t Kernels::part_bytes(uint32_t n_out, uint32_t most_tokens) {
  const uint64_t n = std::max(n_axpy_parts(1), n_axpy_parts(most_tokens) * most_tokens);
  return n * padded(n_out) * sizeof(float);
}

void Kernels::add(const Matrix& W, const Piece& bias, const Values& a, const Piece& parts, const Values& y,
                  uint32_t n_tokens, const Onto& onto) {
  HUNCH_CHECK(!onto.list || n_tokens == 1, "a list of rows for {} tokens", n_tokens);
  const uint32_t together = tokens_together(n_tokens), n_parts = n_axpy_parts(n_tokens);
  HUNCH_CHECK(uint64_t(n_parts) * n_tokens * padded(W.n_cols) * sizeof(float) <= parts.bytes, "{} parts", n_parts);
  struct Push {
    uint64_t codes, scales, extra, a, parts, list;
    uint32_t n_inputs, n_groups, a_stride, n_parts, n_tokens, flags;
  } push{W.codes.address, W.scales.address, W.extra.address, a.piece.address, parts.address, onto.list.address,
         W.n_rows,        W.n_groups(),     a.stride,        n_parts,         n_tokens,      onto.list ? kList : 0};
  commands_.dispatch(gpu_->pipeline(shader_of("gather_axpy", W.dtype), together), push, div_up(W.n_groups(), 64),
                     n_parts, div_up(n_tokens, together));
  barrier();
  sum_parts({.parts = parts.address,
             .bias = bias.address,
             .y = y.piece.address,
             .n_out = W.n_cols,
             .part_stride = 8 * W.n_groups(),
             .n_parts = n_parts,
             .y_stride = y.stride,
             .flags = (bias ? kBias : 0) | (onto.add ? kAdd : 0),
             .scale = onto.scale},
            n_tokens);
}

void Kernels::add_values(const Values& x, float scale, const Values& y, uint32_t n, uint32_t n_tokens) {
  sum_parts({.parts = x.piece.address,
             .y = y.piece.address,
             .n_out = n,
             .part_stride = x.stride,
             .n_parts = 1,
             .y_stride = y.stride,
             .flags = kAdd,
             .scale = scale},
            n_tokens);
}

void Kernels::sum_parts(const SumPush& push, uint32_t n_tokens) {
  commands_.dispatch(gpu_->pipeline("sum_parts"), push, div_up(push.n_out, 64), n_tokens);
}

void Kernels::embed(const Matrix& W, const Piece& ids, const Piece& positions, const Piece& table, float scale,
                    const Values& y, uint32_t n_tokens) {
  constexpr uint32_t kTable = 1;
  struct Push {
    uint64_t codes, scales, extra, ids, positions, table, y;
    uint32_t n_embd, n_groups, y_stride, flags;
    float scale;
  } push{W.codes.address, W.scales.address, W.extra.address, ids.address, positions.address,  table.address,
         y.piece.address, W.n_cols,         W.n_groups(),    y.stride,    table ? kTable : 0, scale};
  commands_.dispatch(gpu_->pipeline(shader_of("embed", W.dtype)), push, div_up(W.n_groups(), 64), n_tokens);
}

void Kernels::norm(const Norm& norm, const Values& x, const Values& y, uint32_t n_rows, const Piece& rows) {
  constexpr uint32_t kWeight = 1, kNormBias = 2, kLayer = 4, kRows = 8;
  struct Push {
    uint64_t x, weight, bias, y, rows;
    uint32_t n, x_stride, y_stride, weight_stride, flags;
    float eps;
  } push{x.piece.address,
         norm.weight.address,
         norm.bias.address,
         y.piece.address,
         rows.address,
         norm.n,
         x.stride,
         y.stride,
         norm.own_weights ? norm.n : 0,
         (norm.weight ? kWeight : 0) | (norm.bias ? kNormBias : 0) | (norm.layer ? kLayer : 0) | (rows ? kRows : 0),
         norm.eps};
  commands_.dispatch(gpu_->pipeline("norm"), push, norm.n_heads, n_rows);
}

void Kernels::rope(const Values& x, uint32_t n_heads, uint32_t d_head, uint32_t n_pairs, bool interleaved,
                   const Piece& turns, const Piece& positions, uint32_t n_tokens) {
  struct Push {
    uint64_t x, turns, positions;
    uint32_t n_heads, d_head, n_pairs, x_stride, flags;
  } push{x.piece.address, turns.address, positions.address, n_heads, d_head, n_pairs, x.stride, interleaved ? 1u : 0u};
  commands_.dispatch(gpu_->pipeline("rope"), push, div_up(n_heads * n_pairs, 64), n_tokens);
}

void Kernels::store(const Pages& pages, const Values& k, const Values& v, uint32_t n_tokens) {
  HUNCH_CHECK(k.stride == v.stride && pages.d_head % 2 == 0, "keys of {} and values of {}", k.stride, v.stride);
  struct Push {
    uint64_t k, v, k_pages, v_pages, far_k, far_v, positions, tables, pages;
    uint32_t n_kv_head, d_head, x_stride, page_tokens, n_near, flags;
  } push{k.piece.address,         v.piece.address,      pages.k.address,
         pages.v.address,         pages.far_k.address,  pages.far_v.address,
         pages.positions.address, pages.tables.address, pages.table.address,
         pages.n_kv_head,         pages.d_head,         k.stride,
         pages.page_tokens,       pages.n_near,         pages.half ? 1u : 0u};
  commands_.dispatch(gpu_->pipeline("kv_store"), push, div_up(pages.n_kv_head * pages.d_head / 2, 64), n_tokens);
}

uint64_t Kernels::attention_bytes(uint32_t n_head, uint32_t d_head, uint32_t most_tokens) {
  uint64_t most = 0;
  for (const uint32_t n : {std::min(4u, most_tokens), most_tokens})
    most = std::max(most, uint64_t(n) * n_attention_parts(n));
  return most * n_head * (d_head + 4) * sizeof(float);
}

void Kernels::attention(const Pages& pages, const AttentionShape& shape, const Values& q, const Piece& parts,
                        const Values& y, uint32_t n_tokens) {
  constexpr uint32_t kHalf = 1, kChosen = 2;
  HUNCH_CHECK(pages.d_head % 4 == 0 && pages.d_head <= 512, "heads of {}", pages.d_head);
  const uint32_t n_parts = n_attention_parts(n_tokens);
  HUNCH_CHECK(uint64_t(n_parts) * n_tokens * shape.n_head * (pages.d_head + 4) * sizeof(float) <= parts.bytes,
              "{} parts", n_parts);
  struct Push {
    uint64_t q, parts, k_pages, v_pages, far_k, far_v, positions, tables, pages, scores;
    uint32_t n_head, n_kv_head, d_head, q_stride, page_tokens, n_near, n_parts, window, flags;
    float scale, soft_cap, threshold;
  } push{q.piece.address,
         parts.address,
         pages.k.address,
         pages.v.address,
         pages.far_k.address,
         pages.far_v.address,
         pages.positions.address,
         pages.tables.address,
         pages.table.address,
         shape.scores.address,
         shape.n_head,
         pages.n_kv_head,
         pages.d_head,
         q.stride,
         pages.page_tokens,
         pages.n_near,
         n_parts,
         shape.window,
         (pages.half ? kHalf : 0) | (shape.scores ? kChosen : 0),
         shape.scale,
         shape.soft_cap,
         shape.threshold};
  HUNCH_CHECK(!shape.scores || n_tokens == 1, "scores of heads for {} tokens", n_tokens);
  commands_.dispatch(gpu_->pipeline("attention"), push, shape.n_head, n_tokens, n_parts);
  barrier();
  struct MergePush {
    uint64_t parts, y;
    uint32_t n_head, d_head, n_parts, y_stride;
  } merge{parts.address, y.piece.address, shape.n_head, pages.d_head, n_parts, y.stride};
  commands_.dispatch(gpu_->pipeline("merge_attention"), merge, shape.n_head, n_tokens);
}

void Kernels::activate(const Gate& gate, const Values& x, uint32_t n, uint32_t n_tokens) {
  constexpr uint32_t kUp = 1, kUpRelu = 2, kListed = 4;
  HUNCH_CHECK(!gate.list || n_tokens == 1, "a list of rows for {} tokens", n_tokens);
  HUNCH_CHECK(!gate.up.piece || gate.up.stride == x.stride, "strides {} and {}", gate.up.stride, x.stride);
  struct Push {
    uint64_t x, up, list;
    uint32_t n, stride, function, flags;
    float threshold;
  } push{x.piece.address,
         gate.up.piece.address,
         gate.list.address,
         n,
         x.stride,
         uint32_t(gate.function),
         (gate.up.piece ? kUp : 0) | (gate.up_relu ? kUpRelu : 0) | (gate.list ? kListed : 0),
         gate.threshold};
  commands_.dispatch(gpu_->pipeline("activate"), push, std::min(div_up(n, 128), kMostGroups), n_tokens);
}

namespace {

struct CompactPush {
  uint64_t x, list;
  uint32_t n, flags;
  float threshold;
};

}  // namespace

void Kernels::list_large(const Piece& x, uint32_t n, float threshold, const Piece& list) {
  constexpr uint32_t kMagnitude = 1;
  commands_.dispatch(gpu_->pipeline("compact"), CompactPush{x.address, list.address, n, kMagnitude, threshold}, 1);
}

void Kernels::list_above(const Piece& x, uint32_t n, float threshold, const Piece& list) {
  commands_.dispatch(gpu_->pipeline("compact"), CompactPush{x.address, list.address, n, 0, threshold}, 1);
}

void Kernels::argmax(const Values& x, uint32_t n, const Piece& best, uint32_t n_rows) {
  struct Push {
    uint64_t x, best;
    uint32_t n, x_stride;
  } push{x.piece.address, best.address, n, x.stride};
  commands_.dispatch(gpu_->pipeline("argmax"), push, n_rows);
}

void Kernels::largest(const Values& x, uint32_t n, uint32_t k, const Piece& best, uint32_t n_rows) {
  HUNCH_CHECK(k > 0 && k <= n && uint64_t(n_rows) * k * 2 * sizeof(uint32_t) <= best.bytes, "the {} largest of {}", k,
              n);
  struct Push {
    uint64_t x, best;
    uint32_t n, x_stride, k;
  } push{x.piece.address, best.address, n, x.stride, k};
  commands_.dispatch(gpu_->pipeline("largest"), push, n_rows);
}

}  // namespace hunch::vulkan
