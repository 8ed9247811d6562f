// Sums of scaled quantised rows on 512-bit vectors: the loops; kernels/formats/ has what differs between formats. No
// include guard: gemv_axpy.cc includes it once per AVX-512 target, inside namespace HWY_NAMESPACE.

namespace wide {

// Asks for kBytes of row b, at `offset`. A type and not a lambda: GCC 12 takes a call that only
// prefetches for one without effect and drops it, unless it is inlined by force.
template <size_t kRows, size_t kBytes>
struct Prefetch {
  const std::byte* const* row;
  size_t offset;
  HWY_INLINE void operator()(size_t b) const {
    if (b < kRows)
      for (size_t line = 0; line < kBytes; line += 64) hwy::Prefetch(row[b] + offset + line);
  }
};

// y[t] += the sum of R whole rows times a[r * T + t]; past the end of w[r], ahead[r] is asked for.
template <class Format, int R, int T>
HWY_NOINLINE void AddRows(const std::byte* const* w, const std::byte* const* ahead, const float* a, size_t n,
                          float* const* y) {
  constexpr size_t kStepBytes = 256 / Format::kFormat.block_elems * Format::kFormat.block_bytes;
  const size_t n_bytes = n / Format::kFormat.block_elems * Format::kFormat.block_bytes;
  const std::byte* at[R];
  float* to[T];
  for (int r = 0; r < R; ++r) at[r] = w[r];
  for (int t = 0; t < T; ++t) to[t] = y[t];
  for (size_t i = 0, offset = 0; i < n; i += 256, offset += kStepBytes) {
    const size_t next = offset + kAheadBytes;
    const bool inside = next < n_bytes;
    RowSum<Format>::template Add<R, T>(at, a, std::min<size_t>(256, n - i), to,
                                       Prefetch<R, kStepBytes>{inside ? w : ahead, inside ? next : next - n_bytes});
    for (int r = 0; r < R; ++r) at[r] += kStepBytes;
    for (int t = 0; t < T; ++t) to[t] += 256;
  }
}

// Positions i .. i + R of the range, all tokens. Every token's sums are formed in the same order
// whatever R and T: a token's result does not depend on its companions.
template <class Format, int R>
void AddGroup(const AxpyArgs& args, size_t i, size_t end) {
  const auto row = [&](size_t at) {
    at = std::min(at, end - 1);  // past the end: anything that may be prefetched
    return args.W.data + (args.ids ? args.ids[at] : at) * args.W.row_stride_bytes;
  };
  const std::byte *w[R], *ahead[R];
  for (size_t r = 0; r < R; ++r) w[r] = row(i + r), ahead[r] = row(i + R + r);
  float a[4 * R];
  float* y[4];
  for (size_t t = 0; t < args.A.rows;) {
    const size_t T = R <= 4 && args.A.rows - t >= 4 ? 4 : 1;
    for (size_t k = 0; k < T; ++k) {
      for (size_t r = 0; r < R; ++r) a[r * T + k] = args.A.data[(t + k) * args.A.row_stride + i + r];
      y[k] = args.y + (t + k) * args.y_stride;
    }
    if (args.skip_zeros && std::all_of(a, a + T * R, [](float v) { return v == 0; })) {
      t += T;
      continue;
    }
    if constexpr (R <= 4) {
      if (T == 4) AddRows<Format, R, 4>(w, ahead, a, args.W.cols, y);
    }
    if (T == 1) AddRows<Format, R, 1>(w, ahead, a, args.W.cols, y);
    t += T;
  }
}

template <class Format>
void AxpyRange(const AxpyArgs& args, size_t begin, size_t end) {
  constexpr int kMostRows = RowSum<Format>::kRows;
  size_t i = begin;
  if constexpr (kMostRows > 4) {
    if (args.A.rows < 4)
      for (; i + kMostRows <= end; i += kMostRows) AddGroup<Format, kMostRows>(args, i, end);
  }
  for (; i + 4 <= end; i += 4) AddGroup<Format, 4>(args, i, end);
  for (; i < end; ++i) AddGroup<Format, 1>(args, i, end);
}

}  // namespace wide
