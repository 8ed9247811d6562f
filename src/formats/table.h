// The one table of formats that hunch computes with. A new one: its file, its include and its name in `Computing`. What
// runs over all formats (kernels, tests, the choices of the command line, messages) takes them from here. Formats that
// are only read: read_only.h.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/error.h"
#include "formats/bf16.h"
#include "formats/f16.h"
#include "formats/f32.h"
#include "formats/fp4.h"
#include "formats/fp8.h"
#include "formats/i8_16.h"
#include "formats/i8_64.h"
#include "formats/iq4_nl.h"
#include "formats/iq4_xs.h"
#include "formats/mxfp4.h"
#include "formats/nf4.h"
#include "formats/q2_k.h"
#include "formats/q3_k.h"
#include "formats/q4_0.h"
#include "formats/q4_1.h"
#include "formats/q4_k.h"
#include "formats/q5_0.h"
#include "formats/q5_1.h"
#include "formats/q5_k.h"
#include "formats/q6_k.h"
#include "formats/q8_0.h"

namespace hunch {

template <class... F>
struct FormatList {
  static constexpr size_t kSize = sizeof...(F);
};

// The formats that hunch computes with, in the order in which people see them.
using Computing =
    FormatList<format::F32, format::F16, format::BF16, format::Q8_0, format::Q4_0, format::Q4_1, format::Q5_0,
               format::Q5_1, format::IQ4_NL, format::MXFP4, format::Q2_K, format::Q3_K, format::Q4_K, format::Q5_K,
               format::Q6_K, format::IQ4_XS, format::NF4, format::FP4, format::FP8, format::I8_64, format::I8_16>;

template <class F>
concept PlainFormat = F::kFormat.block_elems == 1;
template <class F>
concept BlockFormat = F::kFormat.block_elems > 1;
// Products with its weights take their inputs as floats, or as int8.
template <class F>
concept FloatFormat = PlainFormat<F> || F::kFormat.float_products;
template <class F>
concept FloatBlockFormat = FloatFormat<F> && BlockFormat<F>;
template <class F>
concept QuantisedFormat = !FloatFormat<F>;

// From a dtype to code that is compiled for its format: calls visit(format::Q4_0()), say, and returns what it returns.
// A visitor may take some formats only, `[&](QuantisedFormat auto f) {...}`; HUNCH_CHECK that dtype is one of them.
// Once per call of a kernel, never in its loops.
template <class Result = void, class Visit>
Result with_format(DType dtype, const Visit& visit) {
  return [&]<class... F>(FormatList<F...>) -> Result {
    const auto is_it = [&]<class G>(const auto& call) {
      if constexpr (std::is_invocable_v<const Visit&, G>) {
        if (G::kFormat.dtype != dtype) return false;
        call(G());
        return true;
      } else {
        return false;
      }
    };
    if constexpr (std::is_void_v<Result>) {
      const bool done = (is_it.template operator()<F>(visit) || ...);
      HUNCH_CHECK(done, "no kernel for {}", name_of(dtype));
    } else {
      Result result{};
      const bool done = (is_it.template operator()<F>([&](auto f) {
        if constexpr (std::is_invocable_v<const Visit&, decltype(f)>) result = visit(f);
      }) || ...);
      HUNCH_CHECK(done, "no kernel for {}", name_of(dtype));
      return result;
    }
  }(Computing());
}

}  // namespace hunch
