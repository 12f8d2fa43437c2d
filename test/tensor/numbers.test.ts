import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { coerce, convert, type DeviceDType } from "../../src/base/dtype.ts";
import { DTypeError, LorantzError, ShapeError, ValueError } from "../../src/base/errors.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { floorDivide, fmod, remainder } from "../../src/tensor/arithmetic.ts";
import { linspace } from "../../src/tensor/arrange.ts";
import { compile } from "../../src/tensor/compile.ts";
import { arange, full, ones, scalar, tensor, zeros } from "../../src/tensor/creation.ts";
import { customVjp } from "../../src/tensor/custom-vjp.ts";
import { cat, oneHot, stack, where } from "../../src/tensor/functions.ts";
import { grad, vjp } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import { scan } from "../../src/tensor/scan.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { backends } from "../devices.ts";
import { longOn } from "../long.ts";

// Numbers beside tensors, conversions, indices, rank 0: one rule each, on every backend, compiled and not.

const int = (values: readonly number[]) => tensor(values, { dtype: "int32" });
/** Indices that the host does not know. */
const computed = (values: readonly number[]) => int(values).add(0);

describe.each(await backends())("on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: name });
  });
  afterAll(() => device.dispose());

  describe("numbers beside tensors", () => {
    const { POSITIVE_INFINITY: inf, NaN: nan } = Number;
    const operations: Readonly<Record<string, (x: Tensor, y: number | Tensor<"number">) => Tensor>> = {
      add: (x, y) => x.add(y),
      mul: (x, y) => x.mul(y),
      maximum: (x, y) => x.maximum(y),
      ge: (x, y) => x.ge(y),
      eq: (x, y) => x.eq(y),
      clamp: (x, y) => x.clamp(y),
      where: (x, y) => where(x.eq(x), x, y),
    };
    const refused: readonly [dtype: DeviceDType, value: number][] = [
      ["int32", 2.5],
      ["int32", nan],
      ["int32", -inf],
      ["int32", 2 ** 31],
      ["uint32", -1],
      ["uint32", 2 ** 32],
      ["uint32", 0.1],
      ["float32", 1e300],
      ["float16", -1e300],
    ];
    test.each(refused)(
      "%s refuses %d, as a number, a host number, and one that is passed",
      async (dtype, value) => {
        const x = ones([3], { dtype });
        const message = `${dtype === "float16" ? "float32" : dtype} does not hold the number ${value}`;
        for (const [operation, f] of Object.entries(operations)) {
          expect(() => f(x, value), operation).toThrow(DTypeError);
          expect(() => f(x, value), operation).toThrow(message);
          expect(() => f(x, scalar(value)), operation).toThrow(message);
          const compiled = compile((x: Tensor, y: Tensor<"number">) => f(x, y));
          await expect(compiled(x, value), operation).rejects.toThrow(message);
          expect((await compiled(x, 1)).dtype).toBe(
            operation === "ge" || operation === "eq" ? "bool" : dtype,
          );
        }
      },
    );

    test("a number that is refused when a step runs leaves what was donated", async () => {
      const step = compile((x: Tensor, y: Tensor<"number">) => x.mul(y), { donate: [0] });
      const x = int([1, 2]);
      await expect(step(x, 0.5)).rejects.toThrow(/^mul: int32 does not hold/);
      expect(await (await step(x, 2)).toArray()).toEqual([2, 4]);
    });

    test("float16 is compared with the number that it would hold, and computed with in float32", async () => {
      await fc.assert(
        fc.asyncProperty(fc.float({ min: -60000, max: 60000, noNaN: true }), async (value) => {
          const x = tensor([value], { dtype: "float16" });
          expect(await x.eq(value).item()).toBe(1);
          expect(await x.eq(scalar(value)).item()).toBe(1);
        }),
        { numRuns: 20 },
      );
      // Above the middle between two float16: rounding to float32 first would give the other.
      expect(
        await tensor([1.0009765625], { dtype: "float16" })
          .eq(1 + 2 ** -11 + 2 ** -30)
          .item(),
      ).toBe(1);
      // What is compared is rounded too: 0.3 in float16 is not three times 0.1 in float16.
      const product = tensor([0.1], { dtype: "float16" }).mul(3);
      const stored = tensor(await product.data(), { dtype: "float16" });
      expect(await tensor([0.1], { dtype: "float16" }).mul(3).eq(stored).item()).toBe(1);
      expect(await tensor([1], { dtype: "float16" }).mul(1e-8).mul(1e8).item()).toBe(1);
    });

    test("numbers at equal distances are rounded once", async () => {
      for (const [dtype, start] of [
        ["bfloat16", -300],
        ["float16", -4000],
        ["float32", -20_000_000],
      ] as const) {
        const last = await arange(1 - start, { start, dtype })
          .slice([-5 - start])
          .data();
        expect([...last], dtype).toEqual([-5, -4, -3, -2, -1, 0]);
      }
      const fine = await arange(1201, { start: -300, step: 0.25, dtype: "bfloat16" }).slice([1195]).data();
      expect([...fine]).toEqual([-1.25, -1, -0.75, -0.5, -0.25, 0]);
      const even = await linspace(-300, 0, 1201, { dtype: "bfloat16" }).slice([1195]).data();
      expect([...even]).toEqual([-1.25, -1, -0.75, -0.5, -0.25, 0]);
    });

    test("creation refuses too", () => {
      expect(() => full([1], 1e10, { dtype: "int32" })).toThrow(
        "full: int32 does not hold the number 10000000000.",
      );
      expect(() => full([1], 2, { dtype: "bool" })).toThrow(
        "full: bool does not hold the number 2. Use 0 or 1",
      );
      expect(() => full([1], 1e300)).toThrow(DTypeError);
      expect(() => full([1], 1e5, { dtype: "float16" })).toThrow(
        "full: float16 does not hold the number 100000",
      );
      expect(() => arange(4, { step: 0.25 })).toThrow("arange: int32 does not hold the number 0.25.");
      expect(() => arange(4, { start: 2 ** 31 - 2 })).toThrow(
        "arange: int32 does not hold the number 2147483649",
      );
      expect(() => tensor([1, true, 3])).toThrow("tensor: numbers and booleans are mixed");
      expect(() => tensor([2], { dtype: "bool" })).toThrow("tensor: element 0 is 2, which bool cannot hold.");
      expect(() => tensor([1]).pad([[0, 1]], Number.MAX_VALUE)).toThrow("pad: float32 does not hold");
      expect(() => int([1]).pad([[0, 1]], 0.5)).toThrow("pad: int32 does not hold the number 0.5");
    });

    test("sums of 2^32 integers wrap", async () => {
      const sum = (shape: number[]) => full(shape, 1, { dtype: "int32" }).sum().item();
      if (name === "cpu") expect(await sum([2 ** 16, 2 ** 16 + 1])).toBe(2 ** 16);
      expect(() => zeros([2 ** 31])).toThrow("the most is 2^31 - 1, as indices are int32");
    });
  });

  describe("conversions", () => {
    const { POSITIVE_INFINITY: inf, NaN: nan } = Number;
    const edges = [
      2 ** 31,
      -(2 ** 31),
      2147483520,
      -2147483904,
      3e9,
      4294967040,
      2 ** 32,
      1e30,
      inf,
      nan,
      -0.9,
      0.9,
    ];
    const values = [...edges, ...edges.map((x) => -x)];

    test.each(["int32", "uint32"] as const)(
      "to %s truncates, saturates, and takes NaN for 0",
      async (dtype) => {
        const expected = values.map((x) => convert(x, dtype));
        for (const x of [
          tensor(values),
          tensor(values).add(0),
          tensor(values).reshape([6, 4]).transpose().transpose(),
        ])
          expect([...(await x.astype(dtype).data())]).toEqual(expected);
        for (const [i, x] of values.entries()) {
          expect(await scalar(x).astype(dtype).item()).toBe(expected[i]);
          expect(await full([], x).astype(dtype).item()).toBe(expected[i]);
        }
        const passed = compile((n: Tensor<"number">) => zeros([1], { dtype }).add(n.astype(dtype)));
        expect(await (await passed(3e9)).item()).toBe(convert(3e9, dtype));
        if (name === "cpu") {
          const wide = [...values, 2147483647.5, -2147483648.5, 4294967295.5];
          const doubles = tensor(wide, { dtype: "float64" }).astype(dtype);
          expect([...(await doubles.data())]).toEqual(wide.map((x) => convert(x, dtype)));
        }
      },
    );

    test("between integers keep their bits", async () => {
      const x = int([-1, 2 ** 31 - 1, -(2 ** 31)]);
      expect([...(await x.astype("uint32").data())]).toEqual([2 ** 32 - 1, 2 ** 31 - 1, 2 ** 31]);
      expect([...(await x.astype("uint32").astype("int32").data())]).toEqual([-1, 2 ** 31 - 1, -(2 ** 31)]);
    });

    test("the value of pad is one of the dtype, and no two are taken for one", async () => {
      const fills = [inf, -inf, nan, 0, -0, 0.1];
      const padded = compile((x: Tensor) => fills.map((value) => x.pad([[1, 0]], value)));
      for (const [i, x] of (await padded(tensor([5]))).entries())
        expect((await x.data())[0]).toBe(coerce(fills[i]!, "float32"));
      for (const value of fills)
        expect(
          (
            await tensor([5])
              .pad([[1, 0]], value)
              .data()
          )[0],
        ).toBe(coerce(value, "float32"));
    });
  });

  describe("indices", () => {
    const table = () =>
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]) as Tensor;

    test("count from the end where they are negative", async () => {
      expect(
        await table()
          .indexSelect(0, int([-1, 0, -3]))
          .toArray(),
      ).toEqual([
        [5, 6],
        [1, 2],
        [1, 2],
      ]);
      expect(
        await table()
          .indexSelect(1, computed([-1]))
          .toArray(),
      ).toEqual([[2], [4], [6]]);
      expect(await nn.functional.embedding(computed([-2]), table()).toArray()).toEqual([[3, 4]]);
      expect(
        await zeros([3])
          .scatterAdd(0, int([-1, 1]), tensor([1, 2]))
          .toArray(),
      ).toEqual([0, 2, 1]);
    });

    test("that the host knows are refused by name, also by a compiled function", async () => {
      const logits = zeros([1, 3]) as Tensor;
      const cases: readonly [
        what: string,
        f: (index: Tensor<"int32">) => Tensor,
        index: number,
        length: number,
      ][] = [
        ["gather: index", (index) => tensor([1, 2, 3]).gather(0, index), 3, 3],
        ["indexSelect: index", (index) => table().indexSelect(0, index), -4, 3],
        ["scatterAdd: index", (index) => zeros([2]).scatterAdd(0, index, ones([1])), 2, 2],
        ["embedding: index", (index) => nn.functional.embedding(index, table()), 3, 3],
        ["oneHot: index", (index) => oneHot(index, 4), -1, 4],
        ["crossEntropy: class", (index) => nn.crossEntropy(logits, index), 7, 3],
        ["crossEntropy: class", (index) => nn.crossEntropy(logits, index), -1, 3],
        ["nllLoss: class", (index) => nn.nllLoss(logits, index), 3, 3],
      ];
      for (const [what, f, index, length] of cases) {
        const message = `${what} ${index} is out of range: the axis has length ${length}`;
        expect(() => f(int([index]))).toThrow(message);
        expect(() => f(int([index])), what).toThrow(ValueError);
        expect(() => f(full([1], index, { dtype: "int32" }))).toThrow(message);
        await expect(compile(f)(int([index])), what).rejects.toThrow(message);
        await f(computed([index])).data(); // a device cannot throw
      }
      await nn.crossEntropy(zeros([2, 3]), int([-100, 1])).data();
    });

    test("out of range on a device: value and gradient are of the nearest class", async () => {
      const loss = (x: Tensor, classes: Tensor) => nn.crossEntropy(x, classes);
      const logits = tensor([[0.1, 1.1, 2.1]]) as Tensor;
      for (const [outside, nearest] of [
        [7, 2],
        [-1, 0],
      ] as const) {
        expect(await loss(logits, computed([outside])).item()).toBe(
          await loss(logits, int([nearest])).item(),
        );
        const [there, here] = [outside, nearest].map((at) =>
          grad((x: Tensor) => loss(x, computed([at])))(logits),
        );
        expect([...(await there!.data())]).toEqual([...(await here!.data())]);
      }
      const gradient = await grad((x: Tensor) => loss(x, computed([7])))(logits).data();
      [0.09, 0.245, -0.335].forEach((expected, i) => {
        expect(gradient[i]).toBeCloseTo(expected, 3);
      });
    });

    test("of an axis without elements there is none", async () => {
      const empty = zeros([0, 3]) as Tensor;
      expect(() => empty.indexSelect(0, computed([0]))).toThrow(ShapeError);
      expect(() => empty.gather(0, computed([0]).unsqueeze(1))).toThrow("there is nothing at any index");
      expect((await empty.indexSelect(0, zeros([0], { dtype: "int32" })).data()).length).toBe(0);
      const source = grad((x: Tensor) =>
        empty.scatterAdd(0, zeros([2, 3], { dtype: "int32" }).add(0), x).sum(),
      );
      expect([...(await source(ones([2, 3]) as Tensor).data())]).toEqual([0, 0, 0, 0, 0, 0]);
    });

    longOn(name)("are all checked on a device that was asked to", async () => {
      const strict = await init({ backend: name, checkIndices: true });
      const before = "is out of range: the axis has length 3, so";
      const on = (values: readonly number[]) => computed(values);
      await expect(
        tensor([1, 2, 3])
          .gather(0, on([3]))
          .data(),
      ).rejects.toThrow(`gather: index 3 ${before} they are -3 to 2.`);
      await expect(nn.crossEntropy(zeros([1, 3]), on([7])).item()).rejects.toThrow(
        `crossEntropy: class 7 ${before} they are 0 to 2.`,
      );
      await expect(oneHot(on([3]), 3).data()).rejects.toThrow(ValueError);
      const step = compile((x: Tensor, index: Tensor<"int32">) =>
        grad((x: Tensor) => nn.functional.embedding(index, x).sum())(x),
      );
      await expect(step(zeros([3, 2]), on([1, -4]))).rejects.toThrow(
        `embedding: index -4 ${before} they are -3 to 2.`,
      );
      expect(await (await step(zeros([3, 2]), on([1, -3]))).toArray()).toEqual([
        [1, 1],
        [1, 1],
        [0, 0],
      ]);
      expect(await nn.crossEntropy(zeros([2, 2]), on([-100, 1])).item()).toBeCloseTo(Math.log(2), 6);
      // Those inside a scan too, of what it walks along and of what it carries, one scan in another, and its gradient.
      const walk = (x: Tensor, index: Tensor<"int32">) =>
        scan(
          (sum: Tensor, i: Tensor<"int32">) => [sum.add(x.indexSelect(0, i.unsqueeze(0)).sum()), sum],
          tensor(0),
          index,
        );
      const ok = tensor([1, 2, 3]) as Tensor;
      expect(await walk(ok, on([0, -3, 2, 1]))[0].item()).toBe(7);
      await expect(walk(ok, on([0, 3, 2, 1]))[0].item()).rejects.toThrow(`indexSelect: index 3 ${before}`);
      const counted = scan(
        (i: Tensor<"int32">) => [i.add(1), ok.indexSelect(0, i.unsqueeze(0))],
        on([0]).reshape([]) as Tensor<"int32">,
        null,
        { length: 5 },
      );
      await expect(counted[1].data()).rejects.toThrow(`indexSelect: index 4 ${before}`);
      const twice = (index: Tensor<"int32">) =>
        scan((sum: Tensor, row: Tensor<"int32">) => [sum.add(walk(ok, row)[0]), sum], tensor(0), index);
      const nested = compile((index: Tensor<"int32">) => twice(index)[0]);
      expect(await (await nested(on([0, 1, 2, 2]).reshape([2, 2]))).item()).toBe(9);
      await expect(nested(on([0, 1, 2, -4]).reshape([2, 2]))).rejects.toThrow(
        `indexSelect: index -4 ${before}`,
      );
      const slope = compile((x: Tensor, index: Tensor<"int32">) => grad((x: Tensor) => walk(x, index)[0])(x));
      expect([...(await (await slope(ok, on([0, 2, 2]))).data())]).toEqual([1, 0, 2]);
      await expect(slope(ok, on([0, 2, 5]))).rejects.toThrow(`indexSelect: index 5 ${before}`);
      strict.dispose();
      device.dispose();
      device = await init({ backend: name });
    });
  });

  describe("rank 0", () => {
    test("where of two numbers has the shape of its condition, and chooses values", async () => {
      const f = (x: Tensor) => x.mul(where(x.gt(0), 1, 0));
      const x = tensor([1, -1]) as Tensor;
      expect([...(await f(x).data())]).toEqual([1, -0]);
      expect([...(await (await compile(f)(x)).data())]).toEqual([1, -0]);
      expect([...(await grad((x: Tensor) => f(x).sum())(x).data())]).toEqual([1, 0]);
      expect([...(await where(x.gt(0), scalar(2), 3).data())]).toEqual([2, 3]);
      expect(where(scalar(1).lt(2), scalar(5), 6).dtype).toBe("number");
    });

    test("host numbers take shapes", async () => {
      expect([...(await scalar(2).expand([3]).data())]).toEqual([2, 2, 2]);
      expect([...(await stack([scalar(1), scalar(2)]).data())]).toEqual([1, 2]);
      expect([...(await cat([scalar(1).reshape([1]), scalar(2).unsqueeze(0)]).data())]).toEqual([1, 2]);
      expect([
        ...(await scalar(2)
          .reshape([1])
          .gather(0, int([0, 0]))
          .data()),
      ]).toEqual([2, 2]);
      expect(await scalar(3).max().values.item()).toBe(3);
      expect(await scalar(3).expand([2, 2]).sum().item()).toBe(12);
    });

    test("constants are arguments and results of compiled functions, donated or not", async () => {
      const f = (x: Tensor) => ({ sum: x.add(1), x, zero: zeros([]), truth: scalar(1).lt(2) });
      for (const donate of [[], [0]]) {
        for (const x of [
          zeros([]),
          ones([]),
          full([], 2),
          full([], 2, { dtype: "int32" }),
          arange(1).reshape([]),
        ]) {
          const { dtype } = x;
          const found = await compile(f, { donate })(x as Tensor);
          expect([found.sum.dtype, found.x.dtype, found.zero.dtype, found.truth.dtype]).toEqual([
            dtype,
            dtype,
            "float32",
            "bool",
          ]);
          expect(await found.zero.item()).toBe(0);
        }
      }
      const chosen = compile((x: Tensor, b: Tensor) => where(b as Tensor<"bool">, x, 0));
      expect(await (await chosen(ones([2]), scalar(1).lt(2))).toArray()).toEqual([1, 1]);
    });

    test.each(Object.keys(optim.rules) as optim.OptimizerName[])("%s trains a scalar", async (rule) => {
      const optimizer = optim.make({
        name: rule,
        lr: 0.1,
        ...(rule === "sgd" && { momentum: 0.9 }),
      } as never);
      const update = (params: { w: Tensor }, state: optim.OptimizerState) => {
        const gradients = grad((p: { w: Tensor }) => p.w.square())(params);
        const [updates, next] = optimizer.update(gradients, state, params);
        return { params: optim.applyUpdates(params, updates), state: next };
      };
      const step = compile(update, { donate: [0, 1] });
      const start = () => ({ w: full([], 2) as Tensor });
      let [eager, compiled] = [1, 2].map(() => ({ params: start(), state: optimizer.init(start()) }));
      for (let i = 0; i < 3; i++) {
        eager = update(eager!.params, eager!.state);
        compiled = await step(compiled!.params, compiled!.state);
      }
      expect(await compiled!.params.w.item()).toBeCloseTo(await eager!.params.w.item(), 5);
      expect(await compiled!.params.w.item()).toBeLessThan(2);
    });
  });

  test("a number in front is one beside the tensor that it meets, and has no gradient there", async () => {
    const x = scalar(5.5) as unknown as Tensor;
    for (const dtype of ["float32", "float16", "bfloat16"] as const) {
      const y = tensor([2, -3], { dtype }) as unknown as Tensor;
      const functions: Readonly<Record<string, readonly [(x: Tensor, y: Tensor) => Tensor, number[]]>> = {
        mul: [(x, y) => x.mul(y), [11, -16.5]],
        fmod: [fmod, [1.5, 2.5]],
        remainder: [remainder, [1.5, -0.5]],
        floorDivide: [floorDivide, [2, -2]],
      };
      for (const [name, [f, expected]] of Object.entries(functions)) {
        const got = f(x, y);
        expect([name, got.dtype, [...(await got.data())]]).toEqual([name, dtype, expected]);
        if (name === "floorDivide") continue; // its gradient is 0
        expect(() => grad((x: Tensor) => f(x, y).sum())(x)).toThrow(
          /^grad: a number of the host met \w+\[2?\], so .* tensor\(0\.1\) in place of scalar\(0\.1\)\.$/,
        );
      }
    }
    expect(await grad((x: Tensor) => x.square())(x).item()).toBe(11);
    const own = customVjp(
      (x: Tensor, y: Tensor) => [x.mul(y), y],
      (y: Tensor, g: Tensor) => [g.mul(y), g],
    );
    expect(() => grad((x: Tensor) => own(x, tensor(2) as Tensor))(x)).toThrow(DTypeError);
  });

  test("a cotangent has the dtype of its output; a number takes it", async () => {
    const [, pull] = vjp((x: Tensor) => x.mul(2), ones([2]) as Tensor);
    expect(() => pull(ones([2], { dtype: "int32" }) as Tensor)).toThrow(
      "vjp: a cotangent is int32[2], where float32 is expected",
    );
    expect([...(await pull(scalar(3) as Tensor).data())]).toEqual([6, 6]);
  });

  test("a sum of bool counts; running sums and scatters of bool are refused", async () => {
    const truth: Tensor<"bool"> = tensor([true, false, true], { dtype: "bool" });
    expect(truth.sum().dtype).toBe("int32");
    expect(await truth.sum().item()).toBe(2);
    expect(await truth.reshape([1, 3]).sum(1, { keepdim: true }).toArray()).toEqual([[2]]);
    expect(() => truth.cumsum(0)).toThrow(DTypeError);
    expect(() => truth.scatterAdd(0, int([0, 0, 0]), truth)).toThrow(DTypeError);
  });

  test("shifts are of 0 to 31 bits; the lowest five bits of others count", async () => {
    for (const by of [32, -1, 0.5]) {
      expect(() => int([1]).leftShift(by)).toThrow(LorantzError);
      expect(() => int([1]).rightShift(scalar(by))).toThrow(LorantzError);
    }
    expect(() => tensor([true]).leftShift(1)).toThrow(DTypeError);
    expect([
      ...(await int([3, 3, 3])
        .leftShift(int([1, 33, -31]))
        .data()),
    ]).toEqual([6, 6, 6]);
    expect(
      await full([1], 3, { dtype: "int32" })
        .leftShift(full([1], 33, { dtype: "int32" }))
        .item(),
    ).toBe(6);
  });

  test("a fold takes whole numbers only, also when it is passed", async () => {
    for (const data of [0.5, 2 ** 32, -1, true, null])
      expect(() => random.key(0).fold(data as number), String(data)).toThrow(ValueError);
    const draw = compile((step: Tensor<"number">) => random.normal(random.key(0).fold(step), [1]));
    await expect(draw(0.5)).rejects.toThrow("fold: uint32 does not hold the number 0.5");
    expect(await (await draw(3)).item()).toBe(await random.normal(random.key(0).fold(3), [1]).item());
  });
});
