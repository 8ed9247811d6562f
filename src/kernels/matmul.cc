#include "kernels/matmul.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/codec.h"
#include "base/error.h"
#include "kernels/gemv.h"
#include "kernels/quantize.h"

namespace hunch {
namespace {

bool is_plain(DType dtype) { return info(dtype).block_elems == 1; }

void check_task(const MatmulTask& task, MatView<const float> X) {
  HUNCH_CHECK(info(task.W.dtype).computes, "no kernel for {}", name_of(task.W.dtype));
  HUNCH_CHECK(task.W.cols == X.cols, "W.cols {} != X.cols {}", task.W.cols, X.cols);
  HUNCH_CHECK(task.Y.rows == X.rows && task.Y.cols == task.W.rows, "Y is [{}, {}] for {} tokens and {} rows",
              task.Y.rows, task.Y.cols, X.rows, task.W.rows);
  HUNCH_CHECK(task.bias.empty() || task.bias.size() == task.W.rows, "bias of {} for {} rows", task.bias.size(),
              task.W.rows);
}

// Rows that a thread takes at a time: what a GEMV kernel multiplies together.
constexpr size_t kRowGroup = 4;

// Runs range(task, begin, end) over the rows of all tasks, shared out evenly among the threads.
template <class Range>
void for_rows(ThreadPool& pool, std::span<const MatmulTask> tasks, Range&& range) {
  size_t n_groups = 0;
  for (const MatmulTask& task : tasks) n_groups += (task.W.rows + kRowGroup - 1) / kRowGroup;
  pool.parallel_for(n_groups, 1, [&](size_t begin, size_t end, size_t) {
    size_t first = 0;  // the task's first group
    for (size_t i = 0; i < tasks.size() && first < end; ++i) {
      const size_t n = (tasks[i].W.rows + kRowGroup - 1) / kRowGroup;
      const size_t from = std::max(begin, first), to = std::min(end, first + n);
      if (from < to) range(i, (from - first) * kRowGroup, std::min((to - first) * kRowGroup, tasks[i].W.rows));
      first += n;
    }
  });
}

// X in the form that each quantised dtype's kernel reads, made once for all tasks of a call.
class SharedInput {
 public:
  SharedInput(ThreadPool& pool, MatView<const float> X, std::span<const MatmulTask> tasks, Scratch& scratch) {
    const bool quantised = std::any_of(tasks.begin(), tasks.end(), [](auto& t) { return !is_plain(t.W.dtype); });
    if (!quantised) return;
    QuantizedX shape;
    shape.n_tokens = X.rows;
    shape.n_padded = round_up(X.cols, QuantizedX::kPad);
    size_t n_bytes = round_up(quantized_bytes(X.rows, X.cols), 64);
    for (const MatmulTask& task : tasks) {
      Form* form = is_plain(task.W.dtype) ? nullptr : find(gemv_int8_packing(task.W.dtype));
      if (!form || form->seen) continue;
      *form = {form->packing, true, n_bytes, task.W.dtype};
      n_bytes += round_up(gemv_int8_packed_bytes(task.W.dtype, shape), 64);
      form->end = n_bytes;
    }
    memory_ = scratch.get<std::byte>(n_bytes).data();
    x_ = quantize(pool, X, memory_);
    for (Form& form : forms_)
      if (form.seen && form.end > form.begin) gemv_int8_pack(form.dtype, x_, memory_ + form.begin);
  }
  const QuantizedX& x() const { return x_; }
  const std::byte* packed(DType dtype) {
    const Form& form = *find(gemv_int8_packing(dtype));
    return form.end > form.begin ? memory_ + form.begin : nullptr;
  }

 private:
  struct Form {
    int packing = -1;
    bool seen = false;
    size_t begin = 0;
    DType dtype = DType::kF32;
    size_t end = 0;
  };
  Form* find(int packing) {
    for (Form& form : forms_)
      if (form.packing == packing || !form.seen) {
        form.packing = packing;
        return &form;
      }
    HUNCH_CHECK(false, "more packings than quantised dtypes");
  }
  QuantizedX x_;
  std::byte* memory_ = nullptr;
  Form forms_[8];
};

}  // namespace

void matmul(ThreadPool& pool, MatView<const float> X, std::span<const MatmulTask> tasks, MatmulScratch& scratch) {
  for (const MatmulTask& task : tasks) check_task(task, X);
  if (X.rows == 0) return;
  SharedInput input(pool, X, tasks, scratch.input);
  for_rows(pool, tasks, [&](size_t i, size_t begin, size_t end) {
    const MatmulTask& task = tasks[i];
    const GemvArgs args{task.W,      nullptr, task.bias.empty() ? nullptr : task.bias.data(), task.Y.data,
                        task.Y.row_stride, task.W.rows};
    if (is_plain(task.W.dtype)) {
      gemv_float(args, X, begin, end);
    } else {
      gemv_int8(args, input.x(), input.packed(task.W.dtype), begin, end);
    }
  });
}

void matmul_transposed(ThreadPool& pool, MatView<const float> A, const WeightView& Wt, std::span<const float> bias,
                       MatView<float> Y, MatmulScratch& scratch) {
  HUNCH_CHECK(A.cols == Wt.rows && Y.cols == Wt.cols && Y.rows == A.rows);
  const auto row = scratch.panels.get<float>(Wt.cols);
  for (size_t t = 0; t < A.rows; ++t) {
    const std::span<float> y = Y.row(t);
    if (bias.empty()) {
      std::fill(y.begin(), y.end(), 0.0f);
    } else {
      std::copy(bias.begin(), bias.end(), y.begin());
    }
  }
  for (size_t k = 0; k < Wt.rows; ++k) {
    codec(Wt.dtype).decode(Wt.row(k), row.data(), Wt.cols);
    pool.parallel_for(A.rows, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t t = begin; t < end; ++t) {
        const float a = A.row(t)[k];
        const std::span<float> y = Y.row(t);
        for (size_t c = 0; c < y.size(); ++c) y[c] += a * row[c];
      }
    });
  }
}

}  // namespace hunch
