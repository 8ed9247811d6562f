// Stores the new tokens' keys and values in their pages: [page][kv head][token of the page][d_head], as f32 or f16.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Floats k, v;
  Words k_pages, v_pages, far_k, far_v;  // far: of pages n_near and above
  Words positions, tables, pages;  // tables[t]: where the page table of the token's sequence begins in `pages`
  uint n_kv_head, d_head, x_stride, page_tokens, n_near, flags;
} p;

const uint kHalf = 1;

void put(Words pages, uint to, vec2 values) {
  if ((p.flags & kHalf) != 0) {
    pages.v[to / 2] = packHalf2x16(values);
  } else {
    pages.v[to] = floatBitsToUint(values.x);
    pages.v[to + 1] = floatBitsToUint(values.y);
  }
}

void main() {
  const uint pair = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;  // two neighbours of a row of all heads
  const uint at = 2 * pair;
  if (at >= p.n_kv_head * p.d_head) return;
  const uint position = p.positions.v[t], head = at / p.d_head;
  const uint page = p.pages.v[p.tables.v[t] + position / p.page_tokens];
  const bool far = page >= p.n_near;
  const uint place = far ? page - p.n_near : page;
  const uint to = ((place * p.n_kv_head + head) * p.page_tokens + position % p.page_tokens) * p.d_head + at % p.d_head;
  const uint from = t * p.x_stride + at;
  const vec2 k = vec2(p.k.v[from], p.k.v[from + 1]), v = vec2(p.v.v[from], p.v.v[from + 1]);
  if (far) {
    put(p.far_k, to, k);
    put(p.far_v, to, v);
  } else {
    put(p.k_pages, to, k);
    put(p.v_pages, to, v);
  }
}
