// What a device computes, kernel by kernel: each call records one dispatch, or the two that belong together. Shaders
// say what each computes; tests hold them against the scalar references of kernels/.
#pragma once
#include "formats/dtype.h"
#include "vulkan/commands.h"

namespace hunch::vulkan {

// A weight matrix on a device, row by row or (of a down projection) input by input.
struct Matrix {
  DType dtype = DType::kF32;
  uint32_t n_rows = 0, n_cols = 0;
  Piece codes, scales, extra;
  uint32_t n_groups() const { return (n_cols + 7) / 8; }
  uint64_t bytes() const { return codes.bytes + scales.bytes + extra.bytes; }
  explicit operator bool() const { return bool(codes); }
};

// Values of tokens, [n_tokens, n] f32 with so many from one row to the next: a multiple of 8, whose padding is finite.
struct Values {
  Piece piece;
  uint32_t stride = 0;
};
constexpr uint32_t padded(size_t n) { return uint32_t((n + 7) / 8 * 8); }

// What becomes of a result, and which rows it has.
struct Onto {
  bool add = false;  // to what is there, instead of writing over it
  float scale = 1;
  Piece list = {};  // rows that a kernel named: [1 + n], their number first; of one token. None: all rows
};

// The numbers of shaders/activate.comp.
enum class Function : uint32_t { kRelu, kReluSquared, kSilu, kGeluErf, kGeluTanh, kGeluQuick, kNone };

// A cache of keys and values in pages, as one layer of it, and where the step's tokens are.
struct Pages {
  Piece k, v;
  Piece far_k = {}, far_v = {};    // of pages n_near, n_near + 1, ...: where the device has no room for them
  uint32_t n_near = UINT32_MAX;    // pages in k and v
  bool half = false;               // f16 instead of f32
  Piece positions, tables, table;  // [n_tokens], [n_tokens] where each token's page table begins in `table`
  uint32_t n_kv_head = 0, d_head = 0, page_tokens = 0;
};

struct AttentionShape {
  uint32_t n_head = 0, window = 0;  // window 0: all of the past
  float scale = 1, soft_cap = 0;
  // Of key heads, of one token: heads whose score is at or below the threshold give zeros. None: all count.
  Piece scores = {};
  float threshold = 0;
};

class Kernels {
 public:
  Kernels(std::shared_ptr<Gpu> gpu, Commands& commands) : gpu_(std::move(gpu)), commands_(commands) {}

  // y[t][r] = scale * (W[r, :] . x[t] + bias[r]); `bias` may be none.
  void dot(const Matrix& W, const Piece& bias, const Values& x, const Values& y, uint32_t n_tokens, const Onto& onto);
  // y[t] = scale * (bias + sum_i a[t][i] * W[i, :]) of a W that lies by input. `parts`: part_bytes() of scratch. Ends
  // behind a barrier.
  void add(const Matrix& W, const Piece& bias, const Values& a, const Piece& parts, const Values& y, uint32_t n_tokens,
           const Onto& onto);
  static uint64_t part_bytes(uint32_t n_out, uint32_t most_tokens);
  // y[t][0, n) += scale * x[t].
  void add_values(const Values& x, float scale, const Values& y, uint32_t n, uint32_t n_tokens);

  // y[t] = scale * W[ids[t], :] (+ table[positions[t]]).
  void embed(const Matrix& W, const Piece& ids, const Piece& positions, const Piece& table, float scale,
             const Values& y, uint32_t n_tokens);

  struct Norm {
    bool layer = false;  // LayerNorm; else RMSNorm
    float eps = 0;
    Piece weight = {}, bias = {};
    uint32_t n = 0, n_heads = 1;
    bool own_weights = false;  // of each head
  };
  // y[r] = norm(x[r]), or of x[rows[r]].
  void norm(const Norm& norm, const Values& x, const Values& y, uint32_t n_rows, const Piece& rows = {});

  // turns [n_positions][2][n_pairs].
  void rope(const Values& x, uint32_t n_heads, uint32_t d_head, uint32_t n_pairs, bool interleaved, const Piece& turns,
            const Piece& positions, uint32_t n_tokens);
  void store(const Pages& pages, const Values& k, const Values& v, uint32_t n_tokens);
  // `parts`: attention_bytes() of scratch. Has a barrier within.
  void attention(const Pages& pages, const AttentionShape& shape, const Values& q, const Piece& parts, const Values& y,
                 uint32_t n_tokens);
  static uint64_t attention_bytes(uint32_t n_head, uint32_t d_head, uint32_t most_tokens);

  struct Gate {
    Function function = Function::kNone;
    float threshold = 0;
    Values up = {};  // multiplied by; none
    bool up_relu = false;
    Piece list = {};
  };
  void activate(const Gate& gate, const Values& x, uint32_t n, uint32_t n_tokens);
  // list = rows where |x| > threshold; the others become 0.
  void list_large(const Piece& x, uint32_t n, float threshold, const Piece& list);
  // list = rows where x > threshold.
  void list_above(const Piece& x, uint32_t n, float threshold, const Piece& list);
  // best [n_rows][2]: of each row the index of the largest value, and that value.
  void argmax(const Values& x, uint32_t n, const Piece& best, uint32_t n_rows);
  // best [n_rows][k][2]: of each row the k <= n largest values, in no order; of equals the smaller indices.
  void largest(const Values& x, uint32_t n, uint32_t k, const Piece& best, uint32_t n_rows);

  void barrier() { commands_.barrier(); }

 private:
  // shaders/sum_parts.comp
  struct SumPush {
    uint64_t parts = 0, bias = 0, y = 0;
    uint32_t n_out = 0, part_stride = 0, n_parts = 0, y_stride = 0, flags = 0;
    float scale = 1;
  };
  void sum_parts(const SumPush& push, uint32_t n_tokens);

  std::shared_ptr<Gpu> gpu_;
  Commands& commands_;
};

}  // namespace hunch::vulkan
