import { afterAll, beforeAll, expect, test } from "vitest";
import {
  arange,
  type Device,
  grad,
  hessian,
  init,
  random,
  type Tensor,
  tensor,
  vmap,
  zeros,
} from "../../src/index.ts";
import { describeComposed } from "../devices.ts";

// Indices by tensors; reference values of many more are the oracle's (ops_indexing).

const ints = (values: readonly number[] | readonly number[][]) =>
  tensor(values as number[], { dtype: "int32" }) as Tensor<"int32">;

describeComposed("tensors as indices", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const x = () => arange(24).reshape([2, 3, 4]) as Tensor;
  /** Indices that the host does not know. */
  const unknown = (values: readonly number[]) => ints(values).add(0) as Tensor<"int32">;

  test("stand where they did, or in front where axes lie between", async () => {
    expect(
      await x()
        .at([], ints([2, 0]))
        .get()
        .sum(2)
        .toArray(),
    ).toEqual([
      [38, 6],
      [86, 54],
    ]);
    const apart = x().at(0, [], ints([3, 1]));
    expect(apart.get().shape).toEqual([2, 3]);
    expect(await apart.get().toArray()).toEqual([
      [3, 7, 11],
      [1, 5, 9],
    ]);
    expect(
      x()
        .at(ints([0]), ints([[0], [-1]]), null)
        .get().shape,
    ).toEqual([2, 1, 1, 4]);
    expect(
      x()
        .at([], ints([0, 1]), ints([0, 1]))
        .get().shape,
    ).toEqual([2, 2]);
    expect(
      x()
        .at(ints([0, 1]), "...", ints([0, 1]))
        .get().shape,
    ).toEqual([2, 3]);
    expect(
      await x()
        .at(0, tensor([true, false, true]), [1, 3])
        .get()
        .toArray(),
    ).toEqual([
      [1, 2],
      [9, 10],
    ]);
  });

  test.each([
    ["known", ints],
    ["unknown", unknown],
  ])("update places that are named again, %s to the host", async (_, make) => {
    const y = tensor([1, 2, 3, 4]) as Tensor;
    const at = y.at(make([1, 3, 1]));
    const values = tensor([10, 0.5, 2]);
    expect(await at.add(values).toArray()).toEqual([1, 14, 3, 4.5]);
    expect(await at.set(values).toArray()).toEqual([1, 2, 3, 0.5]);
    expect(await at.mul(values).toArray()).toEqual([1, 40, 3, 2]);
    expect(await at.min(values).toArray()).toEqual([1, 2, 3, 0.5]);
    expect(await at.max(values).toArray()).toEqual([1, 10, 3, 4]);
    // The last value that is set gets the gradient, and what it replaced none.
    const slopes = grad(
      (y: Tensor, v: Tensor) =>
        y
          .at(make([1, 3, 1]))
          .set(v)
          .mul(y)
          .sum(),
      { argnums: [0, 1] },
    );
    const [dy, dv] = slopes(y, values as Tensor);
    expect(await dy!.toArray()).toEqual([2, 2, 6, 0.5]);
    expect(await dv!.toArray()).toEqual([0, 4, 2]);
  });

  test("have derivatives of second order, and are vectorised", async () => {
    const index = ints([2, 0, 2]);
    const f = (x: Tensor) =>
      x
        .at(index)
        .mul(x.at(ints([0, 1, 2])).get())
        .square()
        .sum();
    const y = tensor([1, 2, 3]) as Tensor;
    // f = (x0 x1)^2 + x1^2 + (x2 x0 x2)^2
    const H = (await hessian(f)(y).toArray()) as number[][];
    const wanted = [
      [2 * 4 + 2 * 81, 4 * 1 * 2, 8 * 1 * 27],
      [8, 2 * 1 + 2, 0],
      [216, 0, 12 * 9],
    ];
    H.forEach((row, i) => {
      row.forEach((value, j) => {
        expect(value).toBeCloseTo(wanted[i]![j]!, 3);
      });
    });
    const rows = random.normal(random.key(0), [3, 4]);
    const picked = vmap((row: Tensor, i: Tensor<"int32">) => row.at(i).get())(
      rows,
      ints([
        [0, 3],
        [1, 1],
        [2, 0],
      ]),
    );
    expect(await picked.toArray()).toEqual(
      await rows
        .gather(
          1,
          ints([
            [0, 3],
            [1, 1],
            [2, 0],
          ]),
        )
        .toArray(),
    );
    expect(
      zeros([3, 2])
        .at(zeros([0], { dtype: "int32" }) as Tensor<"int32">)
        .get().shape,
    ).toEqual([0, 2]);
  });
});
