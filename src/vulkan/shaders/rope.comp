// Rotates the first 2 * n_pairs values of every head in place by the token's position: pairs (2i, 2i + 1), or
// (i, i + n_pairs).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Floats x, turns;  // turns [n_positions][2][n_pairs]: cosines, then sines
  Words positions;
  uint n_heads, d_head, n_pairs, x_stride, flags;
} p;

const uint kInterleaved = 1;

void main() {
  const uint at = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  if (at >= p.n_heads * p.n_pairs) return;
  const uint head = at / p.n_pairs, i = at % p.n_pairs;
  const uint turn = p.positions.v[t] * 2 * p.n_pairs + i;
  const float c = p.turns.v[turn], s = p.turns.v[turn + p.n_pairs];
  const uint first = t * p.x_stride + head * p.d_head;
  const bool interleaved = (p.flags & kInterleaved) != 0;
  const uint a = first + (interleaved ? 2 * i : i), b = interleaved ? a + 1 : a + p.n_pairs;
  const float x = p.x.v[a], y = p.x.v[b];
  p.x.v[a] = x * c - y * s;
  p.x.v[b] = x * s + y * c;
}
