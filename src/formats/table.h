// The one table of formats. A new one: its file, its include and its name in `Computing`. What runs over all formats
// (kernels, tests, the choices of the command line, messages) takes them from here.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/error.h"
#include "formats/bf16.h"
#include "formats/f16.h"
#include "formats/f32.h"
#include "formats/q4_0.h"
#include "formats/q4_1.h"
#include "formats/q4_k.h"
#include "formats/q5_k.h"
#include "formats/q6_k.h"
#include "formats/q8_0.h"

namespace hunch {

template <class... F>
struct FormatList {
  static constexpr size_t kSize = sizeof...(F);
};

// The formats that hunch computes with, in the order in which people see them.
using Computing = FormatList<format::F32, format::F16, format::BF16, format::Q8_0, format::Q4_0, format::Q4_1,
                             format::Q4_K, format::Q5_K, format::Q6_K>;

// Types that files may hold and of which hunch knows how long they are.
inline constexpr Format kOnlyNamed[] = {
    {DType::kQ5_0, "q5_0", 32, 22},      {DType::kQ5_1, "q5_1", 32, 24},     {DType::kQ8_1, "q8_1", 32, 36},
    {DType::kQ2_K, "q2_k", 256, 84},     {DType::kQ3_K, "q3_k", 256, 110},   {DType::kQ8_K, "q8_k", 256, 292},
    {DType::kIQ1_S, "iq1_s", 256, 50},   {DType::kIQ1_M, "iq1_m", 256, 56},  {DType::kIQ2_XXS, "iq2_xxs", 256, 66},
    {DType::kIQ2_XS, "iq2_xs", 256, 74}, {DType::kIQ2_S, "iq2_s", 256, 82},  {DType::kIQ3_XXS, "iq3_xxs", 256, 98},
    {DType::kIQ3_S, "iq3_s", 256, 110},  {DType::kIQ4_NL, "iq4_nl", 32, 18}, {DType::kIQ4_XS, "iq4_xs", 256, 136},
    {DType::kTQ1_0, "tq1_0", 256, 54},   {DType::kTQ2_0, "tq2_0", 256, 66},  {DType::kMXFP4, "mxfp4", 32, 17},
    {DType::kNVFP4, "nvfp4", 64, 36},    {DType::kI8, "i8", 1, 1},           {DType::kI16, "i16", 1, 2},
    {DType::kI32, "i32", 1, 4},          {DType::kI64, "i64", 1, 8},         {DType::kF64, "f64", 1, 8},
};

template <class F>
concept PlainFormat = F::kFormat.block_elems == 1;
template <class F>
concept QuantisedFormat = F::kFormat.block_elems > 1;

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
