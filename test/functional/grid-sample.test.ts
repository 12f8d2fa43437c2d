import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { arange, type Device, init, tensor, zeros } from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Images through grids, against PyTorch.

const { affineGrid, gridSample } = functional;

describeComposed("grids", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x, g) =>
        gridSample(x, g.mul(1.3), { mode: "bilinear", paddingMode: "zeros", alignCorners: false }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.0547894607, -0.0328253572, 0.139332189, -0.0071048156],
      sum: 2.80255917,
      squares: [1.15679522, 46.5897014],
    },
    {
      of: (x, g) =>
        gridSample(x, g.mul(1.3), { mode: "bilinear", paddingMode: "border", alignCorners: true }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.209649456, -0.0834536244, 0.249761187, 0.0172252891],
      sum: 13.0808355,
      squares: [3.48984278, 68.0250347],
    },
    {
      of: (x, g) =>
        gridSample(x, g.mul(1.3), { mode: "bilinear", paddingMode: "reflection", alignCorners: false }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.244021111, -0.120754782, 0.379067435, -0.0129103526],
      sum: 13.5112902,
      squares: [5.89707027, 75.235361],
    },
    {
      of: (x, g) => gridSample(x, g.mul(1.3), { mode: "bicubic", paddingMode: "zeros", alignCorners: true }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.309046263, -0.264928174, 0.255217796, 0.00404032568],
      sum: 9.74103403,
      squares: [5.01513323, 56.9853505],
    },
    {
      of: (x, g) =>
        gridSample(x, g.mul(1.3), { mode: "bicubic", paddingMode: "reflection", alignCorners: false }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.465294124, -0.374756712, 0.394340407, -0.169488551],
      sum: 15.3309365,
      squares: [10.8339206, 135.162857],
    },
    {
      of: (x, g) =>
        gridSample(x, g.mul(1.3), { mode: "bicubic", paddingMode: "border", alignCorners: false }),
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
      shape: [2, 2, 2, 3],
      values: [-0.326863625, -0.25625096, 0.394330105, -0.103918381],
      sum: 14.848177,
      squares: [7.18698995, 138.531161],
    },
    {
      of: (x, g) => gridSample(x, g, { paddingMode: "reflection", alignCorners: true }),
      inputs: [
        [1, 2, 3, 2, 3],
        [1, 2, 1, 2, 3],
      ],
      shape: [1, 2, 2, 1, 2],
      values: [-0.188473238, -0.00558798814, 0.322340144, 0.261678541],
      sum: 1.64247441,
      squares: [0.66788231, 3.62272126],
    },
    {
      of: (x) =>
        gridSample(
          x,
          affineGrid(
            tensor(
              [
                [
                  [0.5, 0.2, 0.1],
                  [-0.3, 0.8, 0],
                ],
              ],
              { dtype: x.dtype as "float32" },
            ),
            [1, 1, 3, 2],
          ),
          { mode: "nearest" },
        ),
      inputs: [[1, 1, 3, 4]],
      shape: [1, 1, 3, 2],
      values: [-0.656802495, 0.856986599, 0.212096683, 0.74987721],
      sum: 1.52902614,
      squares: [2.95290413],
    },
    {
      of: (x) => affineGrid(x, [2, 1, 2, 3]),
      inputs: [[2, 2, 3]],
      shape: [2, 2, 3, 2],
      values: [0.62440719, -0.0353060945, 1.18538785, -0.197986835],
      sum: 11.7948853,
      squares: [14.4932751],
    },
    {
      of: (x) => affineGrid(x, [1, 1, 2, 1, 2], { alignCorners: true }),
      inputs: [[1, 3, 4]],
      shape: [1, 2, 1, 2, 3],
      values: [-1.94247869, -1.57889556, 1.06547208, -0.259536725],
      sum: 2.70484106,
      squares: [23.5186732],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of), reference] as const))("%s", (_, reference) =>
    agrees(reference, backend),
  );

  test("an identity gives the image back, and a turn turns it", async () => {
    const image = arange(12, { dtype: "float32" }).reshape([1, 1, 3, 4]);
    for (const alignCorners of [true, false]) {
      const same = affineGrid(
        tensor([
          [
            [1, 0, 0],
            [0, 1, 0],
          ],
        ]),
        [1, 1, 3, 4],
        { alignCorners },
      );
      for (const mode of ["bilinear", "nearest", "bicubic"] as const) {
        const seen = (await gridSample(image, same, { mode, alignCorners }).data()) as Float32Array;
        seen.forEach((value, i) => {
          expect(value).toBeCloseTo(i, 5);
        });
      }
    }
  });

  test("what lies outside has no part, whatever the image holds", async () => {
    const image = tensor([[[[Number.POSITIVE_INFINITY, 1]]]]);
    const at = tensor([
      [
        [
          [0.5, 0],
          [3, 0],
        ],
      ],
    ]);
    expect(await gridSample(image, at).toArray()).toEqual([[[[1, 0]]]]);
    expect(gridSample(zeros([0, 2, 3, 3]), zeros([0, 4, 5, 2])).shape).toEqual([0, 2, 4, 5]);
  });

  test("what does not fit", () => {
    expect(() => gridSample(zeros([1, 1, 2, 2]), zeros([1, 2, 2, 3]))).toThrow(/gridSample: the image is/);
    expect(() => gridSample(zeros([1, 1, 0, 2]), zeros([1, 2, 2, 2]))).toThrow(/is empty/);
    expect(() => affineGrid(zeros([1, 2, 2]), [1, 1, 2, 2])).toThrow(/affineGrid: theta is/);
  });
});
