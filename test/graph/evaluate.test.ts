import { expect, test } from "vitest";
import type { DeviceDType } from "../../src/base/dtype.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { arange, ones, scalar, tensor, zeros } from "../../src/tensor/creation.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";

// The reference evaluator against values worked out by hand: it is the judge of both backends.

const ints = <D extends DeviceDType = "int32">(values: number[], dtype?: D) =>
  tensor<D>(values, { dtype: dtype ?? ("int32" as D) });

const cases: readonly [what: string, build: () => Tensor, expected: readonly number[]][] = [
  [
    "floats are float64 throughout",
    () => tensor([0.1, 0.2], { dtype: "float64" }).add(0.1),
    [0.2, 0.2 + 0.1],
  ],
  ["int32 wraps", () => ints([2 ** 31 - 1, -(2 ** 31)]).add(ints([1, -1])), [-(2 ** 31), 2 ** 31 - 1]],
  ["int32 products wrap", () => ints([65537]).mul(ints([65537])), [131073]],
  ["uint32 wraps", () => ints([0, 5], "uint32").sub(ints([1, 7], "uint32")), [2 ** 32 - 1, 2 ** 32 - 2]],
  ["sums of integers wrap", () => ints([2 ** 31 - 1, 1]).sum(), [-(2 ** 31)]],
  ["float to integer truncates", () => tensor([1.9, -1.9]).astype("int32"), [1, -1]],
  ["anything to bool", () => tensor([0, 0.5, Number.NaN]).astype("bool"), [0, 1, 1]],
  ["host numbers", () => scalar(2).pow(10).add(0.5), [1024.5]],
  ["iota", () => arange(4, { start: 1, step: 2 }), [1, 3, 5, 7]],
  ["permute", () => arange(6).reshape([2, 3]).permute([1, 0]), [0, 3, 1, 4, 2, 5]],
  ["flip", () => arange(6).reshape([2, 3]).flip([1]), [2, 1, 0, 5, 4, 3]],
  ["flip of all axes", () => arange(6).reshape([2, 3]).flip(), [5, 4, 3, 2, 1, 0]],
  ["slice with steps", () => arange(10).slice([1], [8], [3]), [1, 4, 7]],
  ["slice from the end", () => arange(10).slice([-3], [null]), [7, 8, 9]],
  ["infinite powers of -1", () => tensor([-1, -1]).pow(tensor([Infinity, -Infinity])), [1, 1]],
  ["pad", () => ints([1, 2]).pad([[1, 2]], 9), [9, 1, 2, 9, 9]],
  ["expand", () => ints([1, 2]).unsqueeze(1).expand([2, 2]), [1, 1, 2, 2]],
  ["max of int32 over nothing is the smallest", () => zeros([2, 3]).astype("int32").amax(1), [0, 0]],
  ["prod", () => ints([2, -3, 4]).prod(), [-24]],
  [
    "matmul",
    () =>
      ints([1, 2, 3, 4])
        .reshape([2, 2])
        .matmul(ints([5, 6, 7, 8]).reshape([2, 2])),
    [19, 22, 43, 50],
  ],
  ["cumsum", () => ints([1, 2, 3, 4, 5, 6]).reshape([2, 3]).cumsum(0), [1, 2, 3, 5, 7, 9]],
  ["gather", () => ints([5, 6, 7]).gather(0, ints([2, 0, -4, 9]).add(0)), [7, 5, 5, 7]],
  ["scatterAdd", () => ints([1, 1]).scatterAdd(0, ints([0, 0, 1, 5]).add(0), ints([1, 2, 3, 4])), [4, 4]],
  ["shifts", () => ints([-8, 8]).rightShift(1), [-4, 4]],
  ["shifts of uint32", () => ints([2 ** 31], "uint32").rightShift(31), [1]],
  ["a matmul over nothing", () => ones([1, 0]).matmul(ones([0, 1])), [0]],
];

test.each(cases)("%s", async (_, build, expected) => {
  expect([...(await referenceValues([build()]))[0]!]).toEqual(expected);
});

test("a deep graph does not overflow the stack", async () => {
  let x: Tensor = ones([1]);
  for (let i = 0; i < 20_000; i++) x = x.add(1);
  expect((await referenceValues([x]))[0]![0]).toBe(20_001);
});
