// y = norm(x): LayerNorm, or RMSNorm, of `n` values; row r of y is that of x, or of the row of x that `rows` names. In
// place where both are the same. Heads of a token are `n_heads` norms of one row, with one weight vector or each its own.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
  Floats x, weight, bias, y;
  Words rows;
  uint n, x_stride, y_stride, weight_stride, flags;  // weight_stride: from a head's weights to the next one's
  float eps;
} p;
#include "reduce.glsl"

const uint kWeight = 1, kBias = 2, kLayer = 4, kRows = 8;

void main() {
  const uint head = gl_WorkGroupID.x, row = gl_WorkGroupID.y;
  const uint from = ((p.flags & kRows) != 0 ? p.rows.v[row] : row) * p.x_stride + head * p.n;
  const uint to = row * p.y_stride + head * p.n;
  float mean = 0.0;
  if ((p.flags & kLayer) != 0) {
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) sum += p.x.v[from + i];
    mean = workgroup_sum(sum) / float(p.n);
  }
  float squares = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
    const float d = p.x.v[from + i] - mean;
    squares += d * d;
  }
  const float factor = 1.0 / sqrt(workgroup_sum(squares) / float(p.n) + p.eps);
  for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
    float value = (p.x.v[from + i] - mean) * factor;
    if ((p.flags & kWeight) != 0) value *= p.weight.v[head * p.weight_stride + i];
    if ((p.flags & kBias) != 0) value += p.bias.v[head * p.weight_stride + i];
    p.y.v[to + i] = value;
  }
}
