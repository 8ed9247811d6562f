// Attention of one head of one token over a share of the keys that it sees, with a softmax that is kept up as they come
// (Milakov and Gimelshein 2018, arXiv:1805.02867). Shares of a long past go to different workgroups (Dao et al. 2023,
// "Flash-Decoding"); merge_attention.comp puts them together. Heads are a multiple of four values, at most 512.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
  Floats q, parts;  // parts [n_tokens][n_head][n_parts][d_head + 4]: sums of values, then the maximum and the sum
  Words k_pages, v_pages, far_k, far_v;  // far: of pages n_near and above
  Words positions, tables, pages;
  Floats scores;  // of key heads: those at or below the threshold are left out, and give zeros
  uint n_head, n_kv_head, d_head, q_stride, page_tokens, n_near, n_parts, window, flags;
  float scale, soft_cap, threshold;
} p;
#include "reduce.glsl"

const uint kHalf = 1, kChosen = 2, kThreads = 128, kFar = 0x80000000u;
const float kNothing = -1e30;

shared vec4 query[128];
shared float shares[kThreads];
shared uint rows[kThreads];  // of the keys of a chunk: where they begin, in vectors of four, and kFar
shared vec4 sums[kThreads];

uint row_of(uint page, uint kv_head, uint in_page) {
  const uint far = page >= p.n_near ? kFar : 0;
  const uint place = far != 0 ? page - p.n_near : page;
  return far | ((place * p.n_kv_head + kv_head) * p.page_tokens + in_page) * (p.d_head / 4);
}

vec4 four_of(Words pages, uint at) {
  if ((p.flags & kHalf) != 0) {
    const uvec2 w = UVec2s(pages).v[at];
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
  }
  return Vec4s(pages).v[at];
}

// Of near pages, or of far ones where `at` says so.
vec4 four(Words near, Words far, uint at) {
  if ((at & kFar) != 0) return four_of(far, at & ~kFar);
  return four_of(near, at);
}

void main() {
  const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, part = gl_WorkGroupID.z, i = gl_LocalInvocationID.x;
  const uint kv_head = head / (p.n_head / p.n_kv_head), width = p.d_head / 4;
  const uint n_seen = p.positions.v[t] + 1;
  const uint oldest = p.window > 0 && n_seen > p.window ? n_seen - p.window : 0;
  const uint share = ((n_seen - oldest + p.n_parts - 1) / p.n_parts + 31) & ~31u;
  const bool left_out = (p.flags & kChosen) != 0 && p.scores.v[kv_head] <= p.threshold;
  const uint begin = min(n_seen, oldest + part * share), end = left_out ? begin : min(n_seen, begin + share);
  const uint table = p.tables.v[t];

  if (i < width) query[i] = Vec4s(p.q).v[(t * p.q_stride + head * p.d_head) / 4 + i] * p.scale;
  barrier();
  // In the sum of values an invocation has four of a head's values and every n_groups-th key.
  const uint n_groups = kThreads / width, group = i / width, lane = i % width;
  float largest = kNothing, total = 0.0;
  vec4 sum = vec4(0.0);
  for (uint first = begin; first < end; first += kThreads) {
    const uint key = first + i, n = min(kThreads, end - first);
    float score = kNothing;
    if (key < end) {
      const uint page = p.pages.v[table + key / p.page_tokens];
      const uint row = row_of(page, kv_head, key % p.page_tokens);
      rows[i] = row;
      score = 0.0;
      for (uint c = 0; c < width; ++c) score += dot(query[c], four(p.k_pages, p.far_k, row + c));
      if (p.soft_cap > 0.0) score = p.soft_cap * tanh(score / p.soft_cap);
    }
    const float now = max(largest, workgroup_max(score));
    const float weight = key < end ? exp(score - now) : 0.0, old = exp(largest - now);
    shares[i] = weight;
    total = total * old + workgroup_sum(weight);  // its barriers show everybody shares[] and rows[]
    sum *= old;
    largest = now;
    if (group < n_groups)
      for (uint k = group; k < n; k += n_groups) sum += shares[k] * four(p.v_pages, p.far_v, rows[k] + lane);
    barrier();
  }
  sums[i] = sum;
  barrier();
  if (i < width) {
    for (uint g = 1; g < n_groups; ++g) sum += sums[g * width + i];
    const uint at = ((t * p.n_head + head) * p.n_parts + part) * (width + 1);
    Vec4s(p.parts).v[at + i] = sum;
    if (i == 0) Vec4s(p.parts).v[at + width] = vec4(largest, total, 0.0, 0.0);
  }
}
