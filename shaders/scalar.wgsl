// Functions of one number that WGSL lacks, or whose builtin is inexact or undefined for some arguments. A kernel
// contains those it uses. Accuracies are those of test/backend/wgsl.test.ts. Functions that are not here are made of primitive
// operations (src/graph/functions.ts).
//
// WGSL lets a compiler assume that there are no NaNs and infinities, and reorder sums: questions about them are
// asked of the bits, and numbers are split by masking bits, never by adding and subtracting.

// A number from its bits: WGSL has no literal for NaN and the infinities.
fn lorantz_float(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}

fn lorantz_isNaN(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn lorantz_isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// The larger one; NaN if either is; 0 of 0 and -0.
fn lorantz_maximum(x: f32, y: f32) -> f32 {
  let zero = bitcast<f32>(bitcast<u32>(x) & bitcast<u32>(y));
  let number = select(select(y, x, x > y), zero, x == y);
  return select(select(number, y, lorantz_isNaN(y)), x, lorantz_isNaN(x));
}

// The smaller one; NaN if either is; -0 of 0 and -0.
fn lorantz_minimum(x: f32, y: f32) -> f32 {
  let zero = bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(y));
  let number = select(select(y, x, x < y), zero, x == y);
  return select(select(number, y, lorantz_isNaN(y)), x, lorantz_isNaN(x));
}

// Of two elements that share a word, the one at an index, in the upper half of the result.
fn lorantz_ofPair(pair: u32, at: i32) -> u32 {
  return select(pair << 16u, pair & 0xffff0000u, (at & 1) == 1);
}

// The bits of a pair that are not of the element at an index.
fn lorantz_otherOfPair(at: i32) -> u32 {
  return select(0xffff0000u, 0xffffu, (at & 1) == 1);
}

// An element where a pair has it.
fn lorantz_inPair(x: u32, at: i32) -> u32 {
  return select(x >> 16u, x, (at & 1) == 1);
}

// Four elements of two words, and back.
fn lorantz_ofPairs(pairs: vec2<u32>) -> vec4<u32> {
  let low = pairs << vec2<u32>(16u);
  let high = pairs & vec2<u32>(0xffff0000u);
  return vec4<u32>(low.x, high.x, low.y, high.y);
}

fn lorantz_inPairs(x: vec4<u32>) -> vec2<u32> {
  return (x.xz >> vec2<u32>(16u)) | x.yw;
}

// The nearest number of 16 bits, ties to even; infinite from 65520 on, in steps of 2^-24 below 2^-14.
fn lorantz_roundToHalf(x: f32) -> f32 {
  let sign = bitcast<u32>(x) & 0x80000000u;
  let size = bitcast<u32>(x) & 0x7fffffffu;
  if (size > 0x7f800000u) {
    return x;
  }
  // Up to 2^-25, and from there to 2^-24.
  if (size < 0x33800000u) {
    return lorantz_float(sign | select(0x33800000u, 0u, size <= 0x33000000u));
  }
  let dropped = 13u + u32(max(113 - i32(size >> 23u), 0));
  let half = (1u << (dropped - 1u)) - 1u + ((size >> dropped) & 1u);
  let rounded = ((size + half) >> dropped) << dropped;
  return lorantz_float(sign | select(rounded, 0x7f800000u, rounded > 0x477fe000u));
}

// x times 0 or -0: NaN where x is not finite.
fn lorantz_timesZero(x: f32, zero: f32) -> f32 {
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(zero)) & 0x80000000u;
  return lorantz_float(select(0x7fc00000u, sign, lorantz_isFinite(x)));
}

// x over 0 or -0: NaN for zeros and NaN, else an infinity.
fn lorantz_overZero(x: f32, zero: f32) -> f32 {
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(zero)) & 0x80000000u;
  let size = bitcast<u32>(x) & 0x7fffffffu;
  return lorantz_float(select(sign | 0x7f800000u, 0x7fc00000u, size == 0u || size > 0x7f800000u));
}

// Truncated; beyond the range the least or largest integer, 0 for NaN. Only numbers in range are converted, as WGSL
// does not say what becomes of the others on every device.
fn lorantz_int32(x: f32) -> i32 {
  let small = i32(select(0.0, x, abs(x) < 2147483648.0));
  let large = select(0x7fffffff, i32(0x80000000u), x < 0.0);
  return select(small, large, abs(x) >= 2147483648.0 && !lorantz_isNaN(x));
}

fn lorantz_uint32(x: f32) -> u32 {
  let small = u32(select(0.0, x, x > 0.0 && x < 4294967296.0));
  return select(small, 0xffffffffu, x >= 4294967296.0 && !lorantz_isNaN(x));
}

// x 2^n for n from -252 to 254, through two factors that are normal numbers.
fn lorantz_scale(x: f32, n: i32) -> f32 {
  let half = n >> 1u;
  let rest = n - half;
  return x * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((rest + 127) << 23u);
}

// exp(r) - 1 for |r| <= log(2)/2 (coefficients of Cephes expf).
fn lorantz_expTail(r: f32) -> f32 {
  let p = ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r + 1.6666665459e-1) * r + 5.0000001201e-1;
  return r * r * p + r;
}

// log(1 + z) - z + z^2/2 for 1 + z from sqrt(1/2) to sqrt(2) (coefficients of Cephes logf).
fn lorantz_logTail(z: f32) -> f32 {
  let p = ((((((((7.0376836292e-2 * z - 1.1514610310e-1) * z + 1.1676998740e-1) * z - 1.2420140846e-1) * z + 1.4249322787e-1) * z - 1.6668057665e-1) * z + 2.0000714765e-1) * z - 2.4999993993e-1) * z + 3.3333331174e-1);
  return p * z * z * z;
}

// m and e with x = m 2^e and m from sqrt(1/2) to sqrt(2), for x > 0; from the bits, so that subnormals work.
fn lorantz_mantissa(x: f32) -> vec2<f32> {
  var bits = bitcast<i32>(x);
  var e = 0;
  if (bits < 0x00800000) {
    let shift = i32(countLeadingZeros(u32(bits))) - 8;
    bits = bits << u32(shift);
    e = -shift;
  }
  // 0x3f3504f3 is sqrt(1/2).
  let above = bits - 0x3f3504f3;
  e += above >> 23u;
  return vec2<f32>(bitcast<f32>((above & 0x007fffff) + 0x3f3504f3), f32(e));
}

// a b as 64 bits: the high word, the low word.
fn lorantz_multiply(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

// The bits of 2/pi after its point, in words, from the third on; two of zeros stand before them.
fn lorantz_twoOverPi(i: u32) -> u32 {
  switch i {
    case 2u: {
      return 0xa2f9836eu;
    }
    case 3u: {
      return 0x4e441529u;
    }
    case 4u: {
      return 0xfc2757d1u;
    }
    case 5u: {
      return 0xf534ddc0u;
    }
    case 6u: {
      return 0xdb629599u;
    }
    case 7u: {
      return 0x3c439041u;
    }
    default: {
      return 0u;
    }
  }
}

// The angle from the nearest multiple of pi/2, and the quadrant (mod 4) of that multiple; x is finite. Large x:
// its product with the 96 bits of 2/pi that matter, in integers (Payne and Hanek).
fn lorantz_reduceAngle(x: f32) -> vec2<f32> {
  if (abs(x) < 0.7853981) {
    return vec2<f32>(x, 0.0);
  }
  if (abs(x) < 100.0) {
    // pi/2 in three parts; the first two have 16 bits, so that products with n of 7 bits are exact.
    let n = round(x * 0.636619772367581343);
    let r = ((x - n * 1.57080078125) - n * -4.454399459064007e-6) - n * -5.564431554416771e-11;
    return vec2<f32>(r, n - 4.0 * floor(n * 0.25));
  }
  let bits = bitcast<u32>(x);
  let mantissa = (bits << 8u) | 0x80000000u;
  // |x| = mantissa 2^(e - 32)
  let e = ((bits >> 23u) & 0xffu) - 126u;
  // What is above four turns of pi/2 does not matter: two bits before the point stay, the quadrant.
  let skip = e + 30u;
  let word = skip / 32u;
  let shift = skip % 32u;
  var w0 = lorantz_twoOverPi(word);
  var w1 = lorantz_twoOverPi(word + 1u);
  var w2 = lorantz_twoOverPi(word + 2u);
  if (shift > 0u) {
    w0 = (w0 << shift) | (w1 >> (32u - shift));
    w1 = (w1 << shift) | (w2 >> (32u - shift));
    w2 = (w2 << shift) | (lorantz_twoOverPi(word + 3u) >> (32u - shift));
  }
  let carry = lorantz_multiply(mantissa, w2).x;
  let middle = lorantz_multiply(mantissa, w1);
  var low = middle.y + carry;
  var high = mantissa * w0 + middle.x + select(0u, 1u, low < carry);
  var quadrant = high >> 30u;
  high = high & 0x3fffffffu;
  var negative = x < 0.0;
  if (high >= 0x20000000u) {
    // Nearer to the next multiple: minus what is missing.
    quadrant += 1u;
    low = ~low + 1u;
    high = (~high + select(0u, 1u, low == 0u)) & 0x3fffffffu;
    negative = !negative;
  }
  if (x < 0.0) {
    quadrant = ~quadrant + 1u;
  }
  var zeros = countLeadingZeros(high);
  if (zeros >= 32u) {
    zeros = 32u + countLeadingZeros(low);
    high = low;
    low = 0u;
    high = high << ((zeros - 32u) & 31u);
  } else {
    high = select((high << zeros) | (low >> ((32u - zeros) & 31u)), high, zeros == 0u);
  }
  // high 2^-zeros 2^-30, times pi/2
  let r = lorantz_scale(f32(high) * 1.57079632679489662, -30 - i32(zeros));
  return vec2<f32>(select(r, -r, negative), f32(quadrant & 3u));
}

// sin(r) and cos(r) for |r| <= pi/4 (coefficients of Cephes sinf and cosf).
fn lorantz_sinTail(r: f32) -> f32 {
  let z = r * r;
  return ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
}

fn lorantz_cosTail(r: f32) -> f32 {
  let z = r * r;
  return ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
}

fn lorantz_sin(x: f32) -> f32 {
  if (!lorantz_isFinite(x)) {
    return lorantz_float(0x7fc00000u);
  }
  if (abs(x) < 2e-4) {
    return x;
  }
  let angle = lorantz_reduceAngle(x);
  let quadrant = i32(angle.y);
  var y = lorantz_sinTail(angle.x);
  if ((quadrant & 1) == 1) {
    y = lorantz_cosTail(angle.x);
  }
  return select(y, -y, quadrant >= 2);
}

fn lorantz_cos(x: f32) -> f32 {
  if (!lorantz_isFinite(x)) {
    return lorantz_float(0x7fc00000u);
  }
  let angle = lorantz_reduceAngle(x);
  let quadrant = i32(angle.y);
  var y = lorantz_cosTail(angle.x);
  if ((quadrant & 1) == 1) {
    y = lorantz_sinTail(angle.x);
  }
  return select(y, -y, quadrant == 1 || quadrant == 2);
}

// The upper half of the digits: products of two such numbers are exact.
fn lorantz_upper(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// |x|^y for finite |x| > 0 and finite y: 2^(y log2 |x|), the logarithm as a sum of two numbers.
fn lorantz_powFinite(x: f32, y: f32) -> f32 {
  let parts = lorantz_mantissa(x);
  let z = parts.x - 1.0;
  // log(1 + z) = z - z^2/2 + tail, with z^2/2 split into an exact part and a rest.
  let zh = lorantz_upper(z);
  let zl = z - zh;
  let square = 0.5 * zh * zh;
  let rest = lorantz_logTail(z) - (zh + 0.5 * zl) * zl;
  let high = lorantz_upper(z - square + rest);
  let low = ((z - high) - square) + rest;
  // times log2(e), which is 1.4423828125 + 3.1222843396e-4
  let l2 = lorantz_upper(parts.y + high * 1.4423828125);
  let l2low = ((parts.y - l2) + high * 1.4423828125) + (high * 3.1222843396e-4 + low * 1.44269504);
  // times y
  let yh = lorantz_upper(y);
  let yl = y - yh;
  let power = yh * l2;
  let powerLow = yl * l2 + y * l2low;
  if (!(power + powerLow < 128.5)) {
    return lorantz_float(0x7f800000u);
  }
  if (power + powerLow < -151.0) {
    return 0.0;
  }
  let n = round(power);
  let r = (power - n) + powerLow;
  return lorantz_scale(1.0 + lorantz_expTail(r * 0.693147180559945309), i32(n));
}

// As C's pow, but NaN for -1 to the power of an infinity (JavaScript).
fn lorantz_pow(x: f32, y: f32) -> f32 {
  let xBits = bitcast<u32>(x);
  let yBits = bitcast<u32>(y);
  let size = xBits & 0x7fffffffu;
  let ySize = yBits & 0x7fffffffu;
  if (xBits == 0x3f800000u || ySize == 0u) {
    return 1.0;
  }
  if (size > 0x7f800000u || ySize > 0x7f800000u) {
    return lorantz_float(0x7fc00000u);
  }
  let up = yBits < 0x80000000u;
  if (ySize == 0x7f800000u) {
    if (size == 0x3f800000u) {
      return lorantz_float(0x7fc00000u);
    }
    return lorantz_float(select(0u, 0x7f800000u, (size > 0x3f800000u) == up));
  }
  // From 2^24 on every number is an even integer.
  let whole = ySize >= 0x4b800000u || floor(y) == y;
  let odd = whole && ySize < 0x4b800000u && (i32(y) & 1) == 1;
  let negative = xBits >= 0x80000000u;
  var result: f32;
  if (size == 0u || size == 0x7f800000u) {
    result = lorantz_float(select(0u, 0x7f800000u, (size != 0u) == up));
  } else if (negative && !whole) {
    return lorantz_float(0x7fc00000u);
  } else {
    result = lorantz_powFinite(bitcast<f32>(size), y);
  }
  return select(result, -result, negative && odd);
}
