// What matvec.comp computes, for many tokens: tiles of 64 rows by 32 tokens, whose weights are decoded once into shared
// memory, 32 columns at a time. An invocation has four rows of four tokens.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
  Words codes, scales, extra;
  Floats bias, x, y;
  Words list;  // none: these are all rows
  uint n_rows, n_groups, x_stride, y_stride, n_tokens, flags;
  float scale;
} p;
#include "weights.glsl"

const uint kBias = 1, kAdd = 2;
const uint kRows = 64, kTokens = 32, kColumns = 32;

// By column; some more than are used keep neighbours in different banks.
shared float weights[kColumns][kRows + 4];
shared float values[kColumns][kTokens + 4];

void main() {
  const uint i = gl_LocalInvocationID.x, row_of_four = i % (kRows / 4), token_of_four = i / (kRows / 4);
  const uint first_row = gl_WorkGroupID.x * kRows, first_token = gl_WorkGroupID.y * kTokens;
  vec4 sums[4];  // of a token, four rows
  for (uint t = 0; t < 4; ++t) sums[t] = vec4(0.0);
  for (uint g = 0; g < p.n_groups; g += kColumns / 8) {
    for (uint at = i; at < kRows * kColumns / 8; at += gl_WorkGroupSize.x) {
      const uint row = at / (kColumns / 8), group = at % (kColumns / 8);
      vec4 low = vec4(0.0), high = vec4(0.0);
      if (first_row + row < p.n_rows && g + group < p.n_groups) decode8(first_row + row, g + group, low, high);
      for (uint k = 0; k < 4; ++k) {
        weights[8 * group + k][row] = low[k];
        weights[8 * group + 4 + k][row] = high[k];
      }
    }
    for (uint at = i; at < kTokens * kColumns / 4; at += gl_WorkGroupSize.x) {
      const uint token = at / (kColumns / 4), four = at % (kColumns / 4);
      vec4 x = vec4(0.0);
      if (first_token + token < p.n_tokens && g + four / 2 < p.n_groups)
        x = Vec4s(p.x).v[((first_token + token) * p.x_stride >> 2) + 2 * g + four];
      for (uint k = 0; k < 4; ++k) values[4 * four + k][token] = x[k];
    }
    barrier();
    for (uint k = 0; k < kColumns; ++k) {
      const uint r = 4 * row_of_four, t = 4 * token_of_four;
      const vec4 w = vec4(weights[k][r], weights[k][r + 1], weights[k][r + 2], weights[k][r + 3]);
      sums[0] += values[k][t] * w;
      sums[1] += values[k][t + 1] * w;
      sums[2] += values[k][t + 2] * w;
      sums[3] += values[k][t + 3] * w;
    }
    barrier();
  }
  for (uint t = 0; t < 4; ++t)
    for (uint r = 0; r < 4; ++r) {
      const uint row = first_row + 4 * row_of_four + r, token = first_token + 4 * token_of_four + t;
      if (row >= p.n_rows || token >= p.n_tokens) continue;
      const float sum = p.scale * (sums[t][r] + ((p.flags & kBias) != 0 ? p.bias.v[row] : 0.0));
      const uint at = token * p.y_stride + row;
      p.y.v[at] = (p.flags & kAdd) != 0 ? p.y.v[at] + sum : sum;
    }
}
