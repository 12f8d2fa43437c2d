import { expect, test } from "vitest";
import { type Code, type Local, Module } from "../../src/backend/cpu/wasm/assemble.ts";
import { printFunctions } from "../../src/backend/cpu/wasm/text.ts";

// WebAssembly as text for people: the order of what happens must be that of the code.

type Parameters = Readonly<Record<"a" | "b", Local<"i32">>>;

function printed(write: (code: Code, params: Parameters) => void): string[] {
  const module = new Module();
  module.define("f", { a: "i32", b: "i32" }, write);
  const lines = printFunctions(module.functions).split("\n");
  expect(lines[0]).toBe("function f(a, b) {");
  expect(lines.at(-1)).toBe("}");
  return lines.slice(1, -1).map((line) => line.slice(2));
}

test("what is on the stack is an expression, in parentheses where they are needed", () => {
  const lines = printed((code, { a, b }) => {
    code.get(a).i32(4).get(b).op("i32.sub").op("i32.mul").i32(-3).op("i32.add").set(a);
    code.get(a).get(b).get(a).get(b).op("i32.sub").op("i32.sub").memory("i32.store", 8);
    code.get(a).get(b).get(a).op("i32.eqz").op("select").set(b);
  });
  expect(lines).toEqual(["a = a * (4 - b) + -3", "i32.store(a + 8, b - (a - b))", "b = !a ? a : b"]);
});

test("what waits on the stack is named before it changes", () => {
  const lines = printed((code, { a, b }) => {
    // a + (a = b): the first a is the old one.
    code.get(a).i32(1).op("i32.add").get(b).tee(a).op("i32.mul").set(b);
    // What is loaded before a store.
    code.get(a).get(a).memory("i32.load").get(b).i32(0).memory("i32.store").memory("i32.store", 4);
  });
  expect(lines).toEqual([
    "t0 = a + 1",
    "a = b",
    "b = t0 * a",
    "t1 = i32.load(a)",
    "i32.store(b, 0)",
    "i32.store(a + 4, t1)",
  ]);
});

test("loops and conditions are blocks", () => {
  const lines = printed((code, { a, b }) => {
    code.repeat(a, b, 4, () => {
      code.get(b).when(
        () => code.i32(1).set(b),
        () => code.i32(2).set(b),
      );
    });
  });
  expect(lines).toEqual([
    "do {",
    "  if (b) {",
    "    b = 1",
    "  } else {",
    "    b = 2",
    "  }",
    "  a = a + 4",
    "} while (a < b)",
  ]);
});

test("a vector of constants stands where it is used, unless it is set again", () => {
  const lines = printed((code, { a }) => {
    const [kept, changed] = [code.local("v128"), code.local("v128")];
    code.v128(Float32Array.of(0.1, 0.1, 0.1, 0.1)).set(kept);
    code.v128(Int32Array.of(0, 1, 2, -3)).set(changed);
    code.get(kept).get(changed).op("f32x4.mul").set(changed);
    code.get(a).get(changed).memory("v128.store32_lane", 4, 2);
    code.get(a).v128(Float64Array.of(2.5, 2.5)).memory("v128.store");
    code
      .get(a)
      .v128(Int32Array.of(0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff))
      .memory("v128.store");
  });
  expect(lines).toEqual([
    "v0 = v128(0, 1, 2, -3)",
    "v0 = splat(0.1f) * v0",
    "v128.store32_lane(a + 4, v0, 2)",
    "v128.store(a, f64x2.splat(2.5))",
    "v128.store(a, splat(0x7fffffff))",
  ]);
});

test("functions give what is left on the stack, and calls of them are expressions", () => {
  const module = new Module();
  const twice = module.define("twice", { a: "i32" }, (code, { a }) => code.get(a).get(a).op("i32.add"), {
    results: ["i32"],
  });
  module.define("f", { a: "i32" }, (code, { a }) => code.get(a).call(twice).i32(1).op("i32.add").set(a));
  expect(printFunctions(module.functions).split("\n")).toEqual([
    ...["function twice(a) {", "  return a + a", "}"],
    ...["function f(a) {", "  a = twice(a) + 1", "}"],
  ]);
});
