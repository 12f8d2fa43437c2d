import { afterAll, beforeAll, expect, test } from "vitest";
import { treeStructure } from "../../src/base/tree.ts";
import { compile, grad, init, type Tensor, tensor, tree, valueAndGrad } from "../../src/index.ts";
import { describeBackends } from "../devices.ts";

// What a traced function may do, and what it is told when it does something else; and what a signature tells apart.

describeBackends("tracing", (backend) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  beforeAll(async () => {
    process.on("unhandledRejection", note);
    await init({ backend });
  });
  afterAll(() => {
    process.off("unhandledRejection", note);
  });

  const x = () => tensor([1, 2, 3]);
  /** The message of the error, once all promises are settled. */
  const failure = async (f: () => unknown): Promise<string> => {
    let message = "nothing was thrown";
    try {
      await f();
    } catch (error) {
      message = String(error);
    }
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
    return message;
  };

  test.each([
    ["item", (v: Tensor) => v.sum().item()],
    ["data", (v: Tensor) => v.data()],
    ["toArray", (v: Tensor) => v.add(1).toArray()],
    ["tree.evaluate", (v: Tensor) => tree.evaluate({ v: v.mul(2) })],
  ])("%s in a compiled function says that there are no values yet", async (name, read) => {
    const meant = new RegExp(`${name}: a function is being traced.*read it outside`, "s");
    const reads = compile((v: Tensor) => {
      void read(v);
      return v;
    });
    expect(await failure(() => reads(x()))).toMatch(meant);
    expect(await failure(() => reads.warmup(x()))).toMatch(meant);
    const inGradient = compile((v: Tensor) =>
      grad((w: Tensor) => {
        void read(w);
        return w.sum();
      })(v),
    );
    expect(await failure(() => inGradient(x()))).toMatch(meant);
    const waits = compile(async (v: Tensor) => {
      await read(v);
      return v;
    });
    expect(await failure(() => waits(x()))).toMatch(/compile: the function is async/);
    const waitsLater = compile(async (v: Tensor) => {
      await Promise.resolve();
      await read(v);
    });
    expect(await failure(() => waitsLater(x()))).toMatch(/compile: the function is async/);
    // Afterwards all is as before.
    expect(await read(x())).toBeDefined();
    expect(await (await compile((v: Tensor) => v.mul(2))(x())).toArray()).toEqual([2, 4, 6]);
  });

  test("what the function captures can be read in it", async () => {
    const c = tensor([4, 5, 6]);
    let seen: Promise<unknown> | undefined;
    const f = compile((v: Tensor) => {
      seen = c.add(1).toArray();
      return v.add(c);
    });
    expect(await (await f(x())).toArray()).toEqual([5, 7, 9]);
    expect(await seen).toEqual([5, 6, 7]);
  });

  test("a compiled function in another, or below a gradient", async () => {
    const inner = compile((v: Tensor) => v.mul(2));
    const calls = compile((v: Tensor) => {
      void inner(v);
      return v;
    });
    expect(await failure(() => calls(x()))).toMatch(
      /a compiled function was called while another one is traced/,
    );
    const warms = compile((v: Tensor) => {
      void inner.warmup(v);
      return v;
    });
    expect(await failure(() => warms(x()))).toMatch(
      /a compiled function was called while another one is traced/,
    );
    const loss = compile((v: Tensor) => v.square().sum());
    expect(await failure(() => valueAndGrad(loss as never)(x()))).toMatch(
      /grad: the function is async, or returned what a compiled function gives/,
    );
    const fails = async () => {
      throw new Error("own");
    };
    expect(await failure(() => valueAndGrad(fails as never)(x()))).toMatch(/grad: the function is async/);
    const compiledGradient = compile((v: Tensor) => grad((w: Tensor) => w.square().sum())(v));
    expect(await (await compiledGradient(x())).toArray()).toEqual([2, 4, 6]);
  });

  test("traced tensors that are kept outside have no values, wherever they go", async () => {
    let leak: Tensor | undefined;
    const f = compile((v: Tensor) => {
      leak = v.mul(2);
      return leak.sum();
    });
    await f(x());
    const meant = /made while a compiled function was traced, and was kept outside/;
    expect(await failure(() => leak!.data())).toMatch(meant);
    expect(await failure(() => leak!.add(1).sum().item())).toMatch(meant);
    expect(await failure(() => f(leak!))).toMatch(meant);
    expect(await failure(() => compile((v: Tensor) => v.add(leak!))(x()))).toMatch(meant);
    let number: Tensor<"number"> | undefined;
    const g = compile((n: Tensor<"number">) => {
      number = n.add(1);
      return number;
    });
    expect(await (await g(2)).item()).toBe(3);
    expect(await failure(() => number!.item())).toMatch(meant);
  });

  test("an error of the function is that of the call, and the next call traces again", async () => {
    let fail = true;
    const f = compile((v: Tensor) => {
      if (fail) throw new RangeError("own");
      return v;
    });
    expect(await failure(() => f(x()))).toBe("RangeError: own");
    fail = false;
    expect(await (await f(x())).toArray()).toEqual([1, 2, 3]);
  });

  test("undefined, null, a missing key and a number are four signatures", async () => {
    type Given = { a?: Tensor<"number"> | number | null | undefined };
    const f = compile((v: Tensor, given: Given) =>
      v.add("a" in given ? (given.a === undefined ? 10 : given.a === null ? 20 : given.a) : 30),
    );
    const call = async (given: Given) =>
      ((await (await f(tensor([0]), given as never)).toArray()) as number[])[0];
    for (let round = 0; round < 2; round++) {
      expect(await call({ a: undefined })).toBe(10);
      expect(await call({ a: null })).toBe(20);
      expect(await call({})).toBe(30);
      expect(await call({ a: 5 })).toBe(5);
      expect(Object.is(await call({ a: -0 }), 0)).toBe(true); // 0 + -0
      expect(await call({ a: Number.NaN })).toBeNaN();
    }
    expect(f.traces).toBe(4);
  });

  test("keys that look alike are told apart, and none is lost", async () => {
    const f = compile((given: Record<string, unknown>) =>
      tree.leaves(given).reduce((a, b) => a.mul(2).add(b)),
    );
    const one = tensor([1]);
    const trees = [
      { "a.b": one },
      { a: { b: one } },
      { 'a":*,"b': one },
      { a: one, b: undefined },
      { a: one, b: null },
      { a: [one] },
      { a: [one, undefined] },
      { a: { 0: one } },
      Object.fromEntries([["__proto__", one]]),
    ] as Record<string, unknown>[];
    for (const given of trees) await f(given as never);
    expect(f.traces).toBe(9);
    const proto = JSON.parse('{"__proto__": 1, "a": 2}') as Record<string, unknown>;
    expect(tree.leaves(Object.fromEntries(Object.entries(proto).map(([k]) => [k, one]))).length).toBe(2);
    expect(treeStructure(proto, (v): v is number => typeof v === "number")).toBe('{"__proto__":*,"a":*}');
  });

  test.each([
    ["text", "a string"],
    [true, "a boolean"],
    [1n, "a bigint"],
    [Symbol("s"), "a symbol"],
    [() => 1, "a function"],
    [new Date(0), "of the class Date"],
    [new Map(), "of the class Map"],
    [new Set([1]), "of the class Set"],
    [/x/, "of the class RegExp"],
    [new Float32Array(2), "of the class Float32Array"],
    [Object.create(Object.create(null)), "of the class of another prototype"],
  ])("%s is no argument, and no result", async (value, what) => {
    const f = compile((_: unknown, v: Tensor) => v);
    expect(await failure(() => f({ deep: [value] } as never, x()))).toContain(
      `compile: argument 0.deep.0 is ${what}; trees are made of`,
    );
    const g = compile((v: Tensor) => ({ v, also: value }));
    expect(await failure(() => g(x()))).toContain(
      `compile: of what the function returned, also is ${what}; trees are made of`,
    );
  });

  test("trees that hold themselves, and symbols among keys, are refused", async () => {
    const f = compile((v: unknown) => v);
    const cyclic: unknown[] = [];
    cyclic.push([cyclic]);
    expect(await failure(() => f(cyclic as never))).toMatch(/more than 500 levels, as if it held itself/);
    expect(await failure(() => f({ [Symbol("s")]: x() } as never))).toMatch(/a symbol among its keys/);
  });
});
