import { binary, type Lanes, type Push, select, shift, unary } from "./polynomials.ts";

// float16 in vectors: kernels compute with four float32, and convert where they load and store. A cast to float16
// rounds and stays a float32. The tricks are those of M. Dukhan's FP16 library.

const and = binary("v128.and");
const or = binary("v128.or");
const add = binary("f32x4.add");
const sub = binary("f32x4.sub");
const mul = binary("f32x4.mul");
const lt = binary("f32x4.lt");
const eq = binary("f32x4.eq");
const abs = unary("f32x4.abs");
const addInt = binary("i32x4.add");
const subInt = binary("i32x4.sub");
const gtInt = binary("i32x4.gt_s");

/** The smallest normal float16. */
const normal = 2 ** -14;
/** Its last place is that of subnormal float16: adding it rounds to that. */
const subnormalMagic = 0.5;
const infinity = 0x7f800000;

/** Four numbers from four words of 16 bits. */
export function fromHalfBits(l: Lanes, bits: Push): Push {
  const h = l.hold(bits);
  const size = l.hold(shift("i32x4.shl", and(h, l.i32(0x7fff)), 13));
  // With the exponent of float32 all are right but those that are not finite.
  const finite = mul(size, l.f32(2 ** 112));
  const special = or(size, l.i32(infinity));
  const value = select(gtInt(size, l.i32(0x0f7fffff)), special, finite);
  return l.hold(or(value, shift("i32x4.shl", and(h, l.i32(0x8000)), 16)));
}

/** Four float32 rounded to float16, ties to even. */
export function roundToHalf(l: Lanes, value: Push): Push {
  const x = l.hold(value);
  const size = l.hold(abs(x));
  const odd = and(shift("i32x4.shr_u", size, 13), l.i32(1));
  const rounded = l.hold(and(addInt(addInt(size, l.i32(0xfff)), odd), l.i32(~0x1fff)));
  const large = select(gtInt(rounded, l.i32(0x477fe000)), l.i32(infinity), rounded);
  const small = sub(add(size, l.f32(subnormalMagic)), l.f32(subnormalMagic));
  const result = select(lt(size, l.f32(normal)), small, large);
  const signed = or(result, and(x, l.i32(-0x80000000)));
  return l.hold(select(eq(x, x), signed, x));
}

/** The bits of four numbers that float16 holds, each in the low half of a word. */
export function halfBits(l: Lanes, value: Push): Push {
  const x = l.hold(value);
  const size = l.hold(abs(x));
  const large = binary("i32x4.min_s")(
    shift("i32x4.shr_s", subInt(size, l.i32(0x38000000)), 13),
    l.i32(0x7c00),
  );
  const quiet = and(gtInt(size, l.i32(infinity)), l.i32(0x0200));
  const small = subInt(add(size, l.f32(subnormalMagic)), l.f32(subnormalMagic));
  const bits = select(lt(size, l.f32(normal)), small, or(large, quiet));
  return l.hold(or(bits, and(shift("i32x4.shr_u", x, 16), l.i32(0x8000))));
}
