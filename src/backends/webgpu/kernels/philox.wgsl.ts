/**
 * WGSL of Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). WGSL has
 * no 64-bit product: its high word is put together from 16-bit halves.
 */
export const philoxSource = `fn highProduct(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu;
  let aHigh = a >> 16u;
  let bLow = b & 0xffffu;
  let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let other = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (other >> 16u);
}
fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var k = seed;
  for (var round = 0u; round < 10u; round++) {
    c = vec4u(highProduct(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z, highProduct(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`

/** The factor of four neighbouring weights: keepScale where kept, else 0. `key` is a multiple of four. */
export const attentionKeepSource = `fn keepOf(place: u32, key: i32) -> vec4f {
  let words = philox(vec4u((params.segmentStart + u32(key)) / 4u, params.firstRow + place, params.batchHead, 0u), vec2u(params.seedLow, params.seedHigh));
  return select(vec4f(0), vec4f(params.keepScale), words >= vec4u(params.threshold));
}`
