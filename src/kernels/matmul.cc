#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "formats/strip_shape.h"
#include "formats/table.h"
#include "kernels/gemm.h"
#include "kernels/gemm_tiles.h"
#include "kernels/gemv.h"
#include "kernels/matmul_ragged.h"
#include "kernels/quantize.h"
#include "kernels/strips.h"

namespace hunch {
namespace {

void check_task(const MatmulTask& task, MatView<const float> X) {
  HUNCH_CHECK(info(task.W.dtype).computes(), "no kernel for {}", name_of(task.W.dtype));
  HUNCH_CHECK(task.W.cols == X.cols, "W.cols {} != X.cols {}", task.W.cols, X.cols);
  HUNCH_CHECK(task.Y.rows == X.rows && task.Y.cols == task.W.rows, "Y is [{}, {}] for {} tokens and {} rows",
              task.Y.rows, task.Y.cols, X.rows, task.W.rows);
  HUNCH_CHECK(task.bias.empty() || task.bias.size() == task.W.rows, "bias of {} for {} rows", task.bias.size(),
              task.W.rows);
}

// Rows that a thread takes at a time: a strip, or a few times what a kernel multiplies together.
constexpr size_t kRowGroup = kStripRows;

// Runs range(task, begin, end) over the rows of all tasks, shared out evenly among the threads.
template <class Range>
void for_rows(Compute& compute, std::span<const MatmulTask> tasks, Range&& range) {
  size_t n_groups = 0;
  for (const MatmulTask& task : tasks) n_groups += (task.W.rows + kRowGroup - 1) / kRowGroup;
  compute.threads.parallel_for(n_groups, 1, [&](size_t begin, size_t end) {
    size_t first = 0;  // the task's first group
    for (size_t i = 0; i < tasks.size() && first < end; ++i) {
      const size_t n = (tasks[i].W.rows + kRowGroup - 1) / kRowGroup;
      const size_t from = std::max(begin, first), to = std::min(end, first + n);
      if (from < to) range(i, (from - first) * kRowGroup, std::min((to - first) * kRowGroup, tasks[i].W.rows));
      first += n;
    }
  });
}

// Rows [begin, end) of one product of a few tokens; `packed` as for gemv_int8(), `tiles` as for dot_strips().
void few_rows(const GemvArgs& args, MatView<const float> X, const QuantizedX& x, const std::byte* packed,
              const TokenTiles& tiles, size_t begin, size_t end) {
  if (multiplies_floats(args.W.dtype)) {
    args.W.strips ? dot_float_strips(args, X, begin, end) : gemv_float(args, X, begin, end);
  } else if (args.W.strips) {
    dot_strips(args, x, tiles, begin, end);
  } else {
    gemv_int8(args, x, packed, begin, end);
  }
}

// X in the form that each quantised dtype's kernel reads, made once for all tasks of a call.
class SharedInput {
 public:
  template <class Task>
  SharedInput(Compute& compute, MatView<const float> X, std::span<const Task> tasks) {
    const bool quantised =
        std::any_of(tasks.begin(), tasks.end(), [](auto& t) { return !multiplies_floats(t.W.dtype); });
    if (!quantised) return;
    QuantizedX shape;
    shape.n_tokens = X.rows;
    shape.n_padded = round_up(X.cols, QuantizedX::kPad);
    size_t n_bytes = round_up(quantized_bytes(X.rows, X.cols), 64);
    for (const Task& task : tasks) {
      if (multiplies_floats(task.W.dtype) || task.W.strips) continue;
      const DType packing = gemv_int8_packing(task.W.dtype);
      Form* form = find_or_free(packing);
      if (form->seen) continue;
      *form = {packing, true, n_bytes, task.W.dtype};
      n_bytes += round_up(gemv_int8_packed_bytes(task.W.dtype, shape), 64);
      form->end = n_bytes;
    }
    memory_ = compute.arena.take<std::byte>(n_bytes).data();
    x_ = quantize(compute, X, memory_);
    for (Form& form : forms_)
      if (form.seen && form.end > form.begin) gemv_int8_pack(form.dtype, x_, memory_ + form.begin);
    for (const Task& task : tasks)
      if (task.W.strips && !multiplies_floats(task.W.dtype) && !tiles(first_of(task), task.Y.rows))
        add_tiles(compute, first_of(task), task.Y.rows);
  }
  const QuantizedX& x() const { return x_; }
  // Called by all threads at once: only reads.
  const std::byte* packed(DType dtype) const {
    if (multiplies_floats(dtype)) return nullptr;
    const DType packing = gemv_int8_packing(dtype);
    for (const Form& form : forms_)
      if (form.seen && form.packing == packing) return form.end > form.begin ? memory_ + form.begin : nullptr;
    return nullptr;
  }
  // Tokens [first, first + n) of x(), and where they begin in packed(dtype).
  QuantizedX x(size_t first, size_t n) const {
    QuantizedX part = x_;
    part.q = x_.q_row(first);
    part.scale = x_.scale_row(first);
    part.scaled_sum16 = x_.scaled_sum16_row(first);
    part.scaled_sum = x_.scaled_sum_row(first);
    part.start16 = x_.start16_row(first);
    part.start32 = x_.start32_row(first);
    part.n_tokens = n;
    return part;
  }
  // The same n tokens for strips; none, where those do not take them.
  TokenTiles tiles(size_t first, size_t n) const {
    for (const Tiles* tiles = tiles_; tiles; tiles = tiles->next)
      if (tiles->first == first && tiles->of.n_tokens == n) return tiles->of;
    return {};
  }
  const std::byte* packed(DType dtype, size_t first) const {
    const std::byte* all = packed(dtype);
    return all ? all + first * (gemv_int8_packed_bytes(dtype, x_) / x_.n_tokens) : nullptr;
  }

 private:
  struct Form {
    DType packing = DType::kF32;
    bool seen = false;
    size_t begin = 0;
    DType dtype = DType::kF32;
    size_t end = 0;
  };
  // In the arena: tasks with tokens of their own, as of experts, may be many.
  struct Tiles {
    size_t first = 0;
    TokenTiles of;
    const Tiles* next = nullptr;
  };
  static size_t first_of(const MatmulTask&) { return 0; }
  static size_t first_of(const RaggedTask& task) { return task.first_token; }
  void add_tiles(Compute& compute, size_t first, size_t n) {
    if (!strips_in_tiles(n)) return;
    const QuantizedX part = x(first, n);
    std::byte* memory = compute.arena.take<std::byte>(TokenTiles::bytes(n, x_.n_blocks())).data();
    Tiles* added = compute.arena.take<Tiles>(1).data();
    *added = {first, TokenTiles(part, memory), tiles_};
    tiles_ = added;
    compute.threads.parallel_for(x_.n_blocks(), 64,
                                 [&](size_t begin, size_t end) { fill_token_tiles(part, begin, end, added->of); });
  }
  Form* find_or_free(DType packing) {
    for (Form& form : forms_)
      if (!form.seen || form.packing == packing) return &form;
    HUNCH_CHECK(false, "more packings than quantised dtypes");
  }
  QuantizedX x_;
  std::byte* memory_ = nullptr;
  Form forms_[Computing::kSize];
  const Tiles* tiles_ = nullptr;
};

// Few tokens: every row is read once, by one thread.
void matmul_few(Compute& compute, MatView<const float> X, std::span<const MatmulTask> tasks) {
  const SharedInput input(compute, X, tasks);
  for_rows(compute, tasks, [&](size_t i, size_t begin, size_t end) {
    const MatmulTask& task = tasks[i];
    const GemvArgs args{task.W, nullptr, task.bias.empty() ? nullptr : task.bias.data(), task.Y.data,
                        task.Y.row_stride};
    few_rows(args, X, input.x(), input.packed(task.W.dtype), input.tiles(0, X.rows), begin, end);
  });
}

// Rows of one piece of work: about four pieces per thread, between one panel and `max`.
size_t piece_rows(size_t n_rows, size_t n_threads, size_t panel, size_t max) {
  return std::clamp(round_up(n_rows / (4 * n_threads), panel), panel, max);
}

GemmArgs gemm_args(const MatmulTask& task) { return {task.W, task.bias.empty() ? nullptr : task.bias.data(), task.Y}; }

// run(task, begin, end, thread) over the rows of all tasks, `piece(task)` of them at a time, as threads become free.
template <class Piece, class Run>
void for_pieces(Compute& compute, std::span<const MatmulTask> tasks, const Piece& piece, const Run& run) {
  const auto pieces_of = [&](const MatmulTask& task) { return (task.W.rows + piece(task) - 1) / piece(task); };
  size_t n_pieces = 0;
  for (const MatmulTask& task : tasks) n_pieces += pieces_of(task);
  compute.threads.parallel_for_dynamic(n_pieces, 1, [&](size_t i_begin, size_t i_end, size_t thread) {
    for (size_t i = i_begin; i < i_end; ++i) {
      size_t at = i, task_index = 0;
      for (; at >= pieces_of(tasks[task_index]); ++task_index) at -= pieces_of(tasks[task_index]);
      const MatmulTask& task = tasks[task_index];
      const size_t begin = at * piece(task);
      run(task, begin, std::min(begin + piece(task), task.W.rows), thread);
    }
  });
}

// Many tokens: pieces of W's rows are handed out as threads become free, each unpacked and multiplied
// with all tokens.
void matmul_many(Compute& compute, MatView<const float> X, std::span<const MatmulTask> tasks) {
  const auto floats = [](const MatmulTask& t) { return multiplies_floats(t.W.dtype); };
  const bool any_floats = std::any_of(tasks.begin(), tasks.end(), floats);
  const bool any_quantised = !std::all_of(tasks.begin(), tasks.end(), floats);
  const size_t packed_bytes = any_floats ? round_up(gemm_packed_floats(X.rows, X.cols) * sizeof(float), 64) : 0;
  std::byte* memory =
      compute.arena.take<std::byte>(packed_bytes + (any_quantised ? quantized_bytes(X.rows, X.cols) : 0)).data();
  auto* packed = reinterpret_cast<float*>(memory);
  if (any_floats)
    compute.threads.parallel_for(gemm_n_tiles(X.rows), 1,
                                 [&](size_t begin, size_t end) { gemm_pack(X, begin, end, packed); });
  QuantizedX x;
  if (any_quantised) x = quantize(compute, X, memory + packed_bytes);

  const size_t panel_bytes =
      round_up(std::max(any_floats ? gemm_float_panel_bytes() : 0, any_quantised ? gemm_int8_panel_bytes() : 0), 64);
  std::byte* panels = compute.arena.take<std::byte>(panel_bytes * compute.threads.n_threads()).data();
  const auto piece = [&](const MatmulTask& task) {
    return floats(task)
               ? piece_rows(task.W.rows, compute.threads.n_threads(), gemm_float_width(), 8 * gemm_float_width())
               : piece_rows(task.W.rows, compute.threads.n_threads(), gemm_int8_panel_rows(),
                            8 * gemm_int8_panel_rows());
  };
  for_pieces(compute, tasks, piece, [&](const MatmulTask& task, size_t begin, size_t end, size_t thread) {
    const GemmArgs args = gemm_args(task);
    std::byte* panel = panels + thread * panel_bytes;
    if (floats(task)) {
      gemm_float(args, packed, begin, end, panel);
    } else {
      gemm_int8(args, x, begin, end, panel);
    }
  });
}

// X in as many parts as the weights want, in the arena of the call.
TileX tile_x(Compute& compute, MatView<const float> X, Bf16Parts parts) {
  TileX x{nullptr, X.rows, X.cols, parts};
  uint16_t* memory = compute.arena.take<uint16_t>(x.bytes() / sizeof(uint16_t)).data();
  compute.threads.parallel_for(x.n_tiles(), 1,
                               [&](size_t begin, size_t end) { pack_tile_x(X, x, begin, end, memory); });
  x.data = memory;
  return x;
}

// Many tokens in tiles of bf16.
void matmul_tiles(Compute& compute, MatView<const float> X, std::span<const MatmulTask> tasks) {
  Bf16Parts parts = Bf16Parts::kUpper;
  for (const MatmulTask& task : tasks) parts = std::max(parts, tile_parts(task.W.dtype, compute.precision));
  const TileX x = tile_x(compute, X, parts);
  const size_t panel_bytes = round_up(tile_panel_bytes(X.rows), 64);
  std::byte* panels = compute.arena.take<std::byte>(panel_bytes * compute.threads.n_threads()).data();
  const auto piece = [&](const MatmulTask& task) {
    return piece_rows(task.W.rows, compute.threads.n_threads(), kTilePanelRows, 8 * kTilePanelRows);
  };
  for_pieces(compute, tasks, piece, [&](const MatmulTask& task, size_t begin, size_t end, size_t thread) {
    gemm_tiles(gemm_args(task), x, begin, end, panels + thread * panel_bytes);
  });
}

// matmul_transposed() of a few tokens in AMX tiles: each thread adds rows of its own, and the sums are added up.
void add_all_in_tiles(Compute& compute, MatView<const float> A, const WeightView& Wt, std::span<const float> bias,
                      MatView<float> Y) {
  const size_t n_tiles = (A.rows + 15) / 16, n_strips = (Wt.cols + 15) / 16, n = n_strips * n_tiles * 256;
  const size_t n_threads = compute.threads.n_threads();
  struct Sums {
    float* own;
    bool used;
  };
  const std::span<Sums> sums = compute.arena.take<Sums>(n_threads);
  for (Sums& s : sums) s = {compute.arena.take<float>(n).data(), false};
  compute.threads.parallel_for(Wt.rows, 32, [&](size_t begin, size_t end, size_t thread) {
    if (!sums[thread].used) std::memset(sums[thread].own, 0, n * sizeof(float));
    sums[thread].used = true;
    add_rows_in_tiles({Wt, nullptr, A}, begin, end, sums[thread].own);
  });
  compute.threads.parallel_for(n_strips, 4, [&](size_t begin, size_t end) {
    for (size_t strip = begin; strip < end; ++strip) {
      const size_t column = 16 * strip, n_columns = std::min<size_t>(16, Wt.cols - column);
      for (size_t t = 0; t < A.rows; ++t) {
        float* y = Y.row(t).data() + column;
        const size_t at = (strip * n_tiles + t / 16) * 256 + t % 16 * 16;
        for (size_t c = 0; c < n_columns; ++c) y[c] = bias.empty() ? 0 : bias[column + c];
        for (const Sums& s : sums)
          if (s.used)
            for (size_t c = 0; c < n_columns; ++c) y[c] += s.own[at + c];
      }
    }
  });
}

constexpr size_t kManyTokensOfStrips = 24;       // measured on Zen 5
constexpr size_t kManyTokensOfTiledStrips = 40;  // measured on a Xeon with AMX
constexpr size_t kTokensOfAddedTiles = 12;       // the same; of plain weights, which take twice as many products, 17
constexpr size_t kTokensOfTiles = 24;  // at 16 tokens the others are up to 1.4 times as fast (docs/performance.md)

}  // namespace

void matmul(Compute& compute, MatView<const float> X, std::span<const MatmulTask> tasks, TokenBits bits) {
  for (const MatmulTask& task : tasks) check_task(task, X);
  if (X.rows == 0) return;
  const Arena::Scope scope(compute.arena);
  for (const MatmulTask& task : tasks) compute.meter.read_weights(task.W.bytes());
  // From here on unpacking panels costs less than running through every row once per four or eight tokens
  // (measured on Sapphire Rapids; transposing f32 costs more than unpacking int8).
  const auto any = [&](auto&& is) { return std::any_of(tasks.begin(), tasks.end(), is); };
  const bool any_floats = any([](auto& t) { return multiplies_floats(t.W.dtype); });
  const bool any_rows = any([](auto& t) { return !t.W.strips; });
  const bool in_strips = !any_floats && !any_rows && strips_in_tiles(X.rows);
  if (X.rows >= (in_strips ? kManyTokensOfTiledStrips : kTokensOfTiles) && bits != TokenBits::kAsAlone &&
      std::ranges::all_of(tasks, [&](auto& t) { return suits_tiles(t.W.dtype, compute.precision); })) {
    return matmul_tiles(compute, X, tasks);
  }
  const size_t many_tokens = any_floats ? 32 : any_rows ? 12 : kManyTokensOfStrips;
  // The few-token kernels sum each token's products in an order of their own, whatever stands beside it; those of
  // quantised strips in the order of the panels.
  if (in_strips || X.rows < many_tokens || (bits == TokenBits::kAsAlone && (any_floats || any_rows))) {
    matmul_few(compute, X, tasks);
  } else {
    matmul_many(compute, X, tasks);
  }
}

void matmul_transposed(Compute& compute, MatView<const float> A, const WeightView& Wt, std::span<const float> bias,
                       MatView<float> Y, TokenBits bits) {
  HUNCH_CHECK(info(Wt.dtype).computes(), "no kernel for {}", name_of(Wt.dtype));
  HUNCH_CHECK(A.cols == Wt.rows && Y.cols == Wt.cols && Y.rows == A.rows,
              "A [{}, {}] times Wt [{}, {}] into Y [{}, {}]", A.rows, A.cols, Wt.rows, Wt.cols, Y.rows, Y.cols);
  HUNCH_CHECK(bias.empty() || bias.size() == Wt.cols, "bias of {} for {} columns", bias.size(), Wt.cols);
  if (A.rows == 0) return;
  const Arena::Scope scope(compute.arena);
  compute.meter.read_weights(Wt.bytes());
  const bool in_tiles = bits != TokenBits::kAsAlone && suits_tiles(Wt.dtype, compute.precision);
  const bool in_added_tiles = bits != TokenBits::kAsAlone && suits_tiles(Wt.dtype, Precision::kF32);  // AMX only
  if (in_added_tiles && A.rows < kTokensOfTiles && A.rows >= (is_plain(Wt.dtype) ? 17 : kTokensOfAddedTiles))
    return add_all_in_tiles(compute, A, Wt, bias, Y);
  if (A.rows <= gemv_axpy_most_tokens(Wt.dtype) || bits == TokenBits::kAsAlone) {
    for (size_t t = 0; t < A.rows; ++t) {
      const std::span<float> y = Y.row(t);
      if (bias.empty()) {
        std::fill(y.begin(), y.end(), 0.0f);
      } else {
        std::copy(bias.begin(), bias.end(), y.begin());
      }
    }
    add_rows(compute, {Wt, nullptr, A}, Wt.rows, Y);
    return;
  }
  const GemmArgs args{Wt, bias.empty() ? nullptr : bias.data(), Y};
  if (in_tiles && A.rows >= kTokensOfTiles) {
    const TileX x = tile_x(compute, A, tile_parts(Wt.dtype, compute.precision));
    const size_t panel_bytes = round_up(tile_transposed_panel_bytes(A.rows), 64);
    std::byte* panels = compute.arena.take<std::byte>(panel_bytes * compute.threads.n_threads()).data();
    const size_t unit = std::max<size_t>(kTilePanelRows, info(Wt.dtype).block_elems);
    const size_t width = piece_rows(Wt.cols, compute.threads.n_threads(), unit, kTileTransposedColumns);
    compute.threads.parallel_for_dynamic(Wt.cols, width, [&](size_t begin, size_t end, size_t thread) {
      gemm_tiles_transposed(args, x, begin, end, panels + thread * panel_bytes);
    });
    return;
  }
  float* packed = compute.arena.take<float>(gemm_packed_floats(A.rows, A.cols)).data();
  compute.threads.parallel_for(gemm_n_tiles(A.rows), 1,
                               [&](size_t begin, size_t end) { gemm_pack(A, begin, end, packed); });
  const size_t panel_bytes = round_up(gemm_float_panel_bytes(), 64);
  std::byte* panels = compute.arena.take<std::byte>(panel_bytes * compute.threads.n_threads()).data();
  // Whole blocks of Wt and whole vectors.
  const size_t unit = std::max<size_t>(gemm_float_width(), info(Wt.dtype).block_elems);
  const size_t width = piece_rows(Wt.cols, compute.threads.n_threads(), unit, 256);
  compute.threads.parallel_for_dynamic(Wt.cols, width, [&](size_t begin, size_t end, size_t thread) {
    gemm_transposed(args, packed, begin, end, panels + thread * panel_bytes);
  });
}

void matmul_ragged(Compute& compute, MatView<const float> X, std::span<const RaggedTask> tasks) {
  constexpr size_t kPieceRows = kStripRows;
  size_t n_pieces = 0;
  for (const RaggedTask& task : tasks) {
    HUNCH_CHECK(task.first_token + task.Y.rows <= X.rows, "tokens {} to {} of {}", task.first_token,
                task.first_token + task.Y.rows, X.rows);
    check_task({task.W, task.bias, task.Y}, X.row_range(task.first_token, task.Y.rows));
    n_pieces += (task.W.rows + kPieceRows - 1) / kPieceRows;
  }
  if (X.rows == 0) return;
  const Arena::Scope scope(compute.arena);
  for (const RaggedTask& task : tasks) compute.meter.read_weights(task.Y.rows ? task.W.bytes() : 0);
  const SharedInput input(compute, X, tasks);
  compute.threads.parallel_for_dynamic(n_pieces, 4, [&](size_t begin, size_t end, size_t) {
    size_t first = 0;  // the task's first piece
    for (size_t i = 0; i < tasks.size() && first < end; ++i) {
      const RaggedTask& task = tasks[i];
      const size_t n = (task.W.rows + kPieceRows - 1) / kPieceRows, from = std::max(begin, first),
                   to = std::min(end, first + n);
      if (from < to && task.Y.rows > 0) {
        const size_t row = (from - first) * kPieceRows, row_end = std::min((to - first) * kPieceRows, task.W.rows);
        const GemvArgs args{task.W, nullptr, task.bias.empty() ? nullptr : task.bias.data(), task.Y.data,
                            task.Y.row_stride};
        few_rows(args, X.row_range(task.first_token, task.Y.rows), input.x(task.first_token, task.Y.rows),
                 input.packed(task.W.dtype, task.first_token), input.tiles(task.first_token, task.Y.rows), row,
                 row_end);
      }
      first += n;
    }
  });
}

}  // namespace hunch
