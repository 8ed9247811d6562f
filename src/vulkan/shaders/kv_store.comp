// Stores the new tokens' keys and values in their pages: [page][kv head][token of the page][d_head], as f32 or f16.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Floats k, v;
  Words k_pages, v_pages;
  Words positions, tables, pages;  // tables[t]: where the page table of the token's sequence begins in `pages`
  uint n_kv_head, d_head, x_stride, page_tokens, flags;
} p;

const uint kHalf = 1;

void main() {
  const uint pair = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;  // two neighbours of a row of all heads
  const uint at = 2 * pair;
  if (at >= p.n_kv_head * p.d_head) return;
  const uint position = p.positions.v[t], head = at / p.d_head;
  const uint page = p.pages.v[p.tables.v[t] + position / p.page_tokens];
  const uint to = ((page * p.n_kv_head + head) * p.page_tokens + position % p.page_tokens) * p.d_head + at % p.d_head;
  const uint from = t * p.x_stride + at;
  const vec2 k = vec2(p.k.v[from], p.k.v[from + 1]), v = vec2(p.v.v[from], p.v.v[from + 1]);
  if ((p.flags & kHalf) != 0) {
    p.k_pages.v[to / 2] = packHalf2x16(k);
    p.v_pages.v[to / 2] = packHalf2x16(v);
  } else {
    p.k_pages.v[to] = floatBitsToUint(k.x);
    p.k_pages.v[to + 1] = floatBitsToUint(k.y);
    p.v_pages.v[to] = floatBitsToUint(v.x);
    p.v_pages.v[to + 1] = floatBitsToUint(v.y);
  }
}
