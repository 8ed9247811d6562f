// best[row] = the k largest of n values, in no order: their indices and the values. Of equals the smaller indices; NaN
// comes last. A radix search for the smallest of them, eight bits at a time, by one workgroup for each row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
  Floats x;
  Words best;  // [row][k][2]
  uint n, x_stride, k;
} p;

shared uint counts[256];
shared uint chosen, missing, place;

// Larger for larger values, equal for equal ones.
uint key_of(float x) {
  const uint bits = x == 0.0 ? 0 : floatBitsToUint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

void main() {
  const uint own = gl_LocalInvocationID.x, row = gl_WorkGroupID.x, first = row * p.x_stride;
  if (own == 0) missing = p.k, place = 0;
  // First by key; then, of those with the smallest key that counts, by index.
  uint least = 0, least_index = 0;  // of ~index: the smaller the index the larger
  for (uint by_index = 0; by_index < 2; ++by_index) {
    uint prefix = 0, mask = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      counts[own] = 0;
      barrier();
      for (uint i = own; i < p.n; i += gl_WorkGroupSize.x) {
        const uint key = key_of(p.x.v[first + i]);
        if (by_index == 1 && key != least) continue;
        const uint digits = by_index == 1 ? ~i : key;
        if ((digits & mask) == prefix) atomicAdd(counts[digits >> shift & 255], 1);
      }
      barrier();
      if (own == 0) {
        uint above = 0, digit = 255;
        while (digit > 0 && above + counts[digit] < missing) above += counts[digit--];
        missing -= above;
        chosen = digit;
      }
      barrier();
      prefix |= chosen << shift;
      mask |= 255u << shift;
      barrier();
    }
    if (by_index == 0) {
      least = prefix;
    } else {
      least_index = prefix;
    }
  }
  for (uint i = own; i < p.n; i += gl_WorkGroupSize.x) {
    const float x = p.x.v[first + i];
    const uint key = key_of(x);
    if (key < least || (key == least && ~i < least_index)) continue;
    const uint to = 2 * (row * p.k + atomicAdd(place, 1));
    p.best.v[to] = i;
    p.best.v[to + 1] = floatBitsToUint(x);
  }
}
