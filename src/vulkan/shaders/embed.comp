// y[t] = scale * W[ids[t], :], and the position's row of a learned table where there is one.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Words codes, scales, extra;
  Words ids, positions;
  Floats table, y;  // table [n_positions][n_embd]
  uint n_embd, n_groups, y_stride, flags;
  float scale;
} p;
#include "weights.glsl"

const uint kTable = 1;

void main() {
  const uint g = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  if (g >= p.n_groups) return;
  vec4 low, high;
  decode8(p.ids.v[t], g, low, high);
  for (uint i = 0; i < 8 && 8 * g + i < p.n_embd; ++i) {
    const uint c = 8 * g + i;
    float value = p.scale * (i < 4 ? low[i] : high[i - 4]);
    if ((p.flags & kTable) != 0) value += p.table.v[p.positions.v[t] * p.n_embd + c];
    p.y.v[t * p.y_stride + c] = value;
  }
}
