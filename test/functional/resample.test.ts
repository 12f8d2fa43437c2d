import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { type Device, grad, init, jvp, ones, random, type Tensor, tensor, vmap } from "../../src/index.ts";
import * as nn from "../../src/nn/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Other lengths of axes: interpolation, pooling to a given length, channels as pixels, windows put back.

const { adaptiveAvgPool1d, adaptiveAvgPool2d, adaptiveAvgPool3d } = functional;
const { adaptiveMaxPool1d, adaptiveMaxPool2d, adaptiveMaxPool3d } = functional;
const { fold, interpolate, pixelShuffle, pixelUnshuffle } = functional;
const { unfold } = nn.functional;

describeComposed("lengths", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x) => interpolate(x, { mode: "nearest", size: 8 }),
      inputs: [[2, 3, 5]],
      shape: [2, 3, 8],
      values: [0.841470985, 0.841470985, -0.656802495, -0.656802495],
      sum: 13.9845837,
      squares: [33.9609063],
    },
    {
      of: (x) => interpolate(x, { mode: "nearest", scaleFactor: 1.7 }),
      inputs: [[1, 1, 5]],
      shape: [1, 1, 8],
      values: [0.841470985, 0.841470985, -0.656802495, -0.656802495],
      sum: 2.6594561,
      squares: [5.97694087],
    },
    {
      of: (x) => interpolate(x, { mode: "nearest-exact", size: 3 }),
      inputs: [[1, 1, 5]],
      shape: [1, 1, 3],
      values: [0.841470985, 0.856986599, 0.820167037],
      sum: 2.51862462,
      squares: [1.46510477],
    },
    {
      of: (x) => interpolate(x, { mode: "linear", size: 7 }),
      inputs: [[1, 2, 4]],
      shape: [1, 2, 7],
      values: [0.841470985, 0.306373313, -0.549782961, 0.100092052],
      sum: 4.49030888,
      squares: [8.61871967],
    },
    {
      of: (x) => interpolate(x, { mode: "linear", size: 7, alignCorners: true }),
      inputs: [[1, 1, 4]],
      shape: [1, 1, 7],
      values: [0.841470985, 0.0923342447, -0.656802495, 0.100092052],
      sum: 1.29654302,
      squares: [4.25222556],
    },
    {
      of: (x) => interpolate(x, { mode: "linear", size: 1, alignCorners: true }),
      inputs: [[1, 1, 3]],
      shape: [1, 1, 1],
      values: [0.841470985],
      sum: 0.841470985,
      squares: [1],
    },
    {
      of: (x) => interpolate(x, { mode: "bilinear", scaleFactor: 2 }),
      inputs: [[1, 2, 3, 4]],
      shape: [1, 2, 6, 8],
      values: [0.841470985, 0.466902615, -0.282234125, -0.278355222],
      sum: 29.6175308,
      squares: [15.3312479],
    },
    {
      of: (x) => interpolate(x, { mode: "bilinear", size: [3, 2] }),
      inputs: [[1, 1, 5, 5]],
      shape: [1, 1, 3, 2],
      values: [0.0169879425, 0.0458381622, 0.670802603, 0.800891185],
      sum: 2.22717476,
      squares: [1.34566486],
    },
    {
      of: (x) => interpolate(x, { mode: "bilinear", scaleFactor: 1.5 }),
      inputs: [[1, 1, 3, 3]],
      shape: [1, 1, 4, 4],
      values: [0.841470985, 0.0923342447, -0.404504313, 0.604688416],
      sum: 4.39464446,
      squares: [3.08963046],
    },
    {
      of: (x) => interpolate(x, { mode: "bicubic", size: [5, 6] }),
      inputs: [[1, 1, 3, 4]],
      shape: [1, 1, 5, 6],
      values: [0.980992985, -0.099052131, -0.627304458, 0.707495651],
      sum: 9.63281934,
      squares: [36.7827926],
    },
    {
      of: (x) => interpolate(x, { mode: "bicubic", size: [5, 6], alignCorners: true }),
      inputs: [[1, 1, 3, 4]],
      shape: [1, 1, 5, 6],
      values: [0.841470985, -0.238961607, -0.507785684, 0.660297895],
      sum: 9.94050337,
      squares: [37.560557],
    },
    {
      of: (x) => interpolate(x, { mode: "trilinear", size: [3, 2, 4] }),
      inputs: [[1, 1, 2, 3, 2]],
      shape: [1, 1, 3, 2, 4],
      values: [0.845349888, 0.495610629, -0.20386789, -0.553607149],
      sum: 7.83903638,
      squares: [6.66849843],
    },
    {
      of: (x) => interpolate(x, { mode: "area", size: [3, 2] }),
      inputs: [[1, 1, 5, 3]],
      shape: [1, 1, 3, 2],
      values: [0.190203604, 0.308111956, 0.280673328, 0.302684284],
      sum: 1.80837983,
      squares: [0.582382546],
    },
    {
      of: (x) => adaptiveAvgPool2d(x, [3, 2]),
      inputs: [[1, 2, 5, 4]],
      shape: [1, 2, 3, 2],
      values: [0.304233052, 0.338497847, 0.445398798, 0.289347424],
      sum: 3.72398438,
      squares: [1.05452971],
    },
    {
      of: (x) => adaptiveMaxPool2d(x, [3, 2]),
      inputs: [[1, 2, 5, 4]],
      shape: [1, 2, 3, 2],
      values: [0.841470985, 0.856986599, 1.34511316, 1.00178835],
      sum: 13.1746174,
      squares: [6.26320279],
    },
    {
      of: (x) => adaptiveMaxPool1d(x, 4),
      inputs: [[1, 2, 6]],
      shape: [1, 2, 4],
      values: [0.841470985, 0.856986599, 0.820167037, 0.820167037],
      sum: 5.47980603,
      squares: [5.26716421],
    },
    {
      of: (x) => adaptiveAvgPool1d(x, 5),
      inputs: [[1, 2, 3]],
      shape: [1, 2, 5],
      values: [0.841470985, 0.0923342447, -0.656802495, 0.100092052],
      sum: 2.82652882,
      squares: [6.2433308],
    },
    {
      of: (x) => adaptiveAvgPool3d(x, [2, 1, 3]),
      inputs: [[1, 1, 3, 2, 4]],
      shape: [1, 1, 2, 1, 3],
      values: [0.357132659, 0.25529557, 0.293631254, 0.340864034],
      sum: 1.72669,
      squares: [0.235901872],
    },
    {
      of: (x) => adaptiveMaxPool3d(x, [2, 1, 3]),
      inputs: [[1, 1, 3, 2, 4]],
      shape: [1, 1, 2, 1, 3],
      values: [1.34511316, 1.34511316, 1.00178835, 1.34511316],
      sum: 7.87511364,
      squares: [0.264320302],
    },
    {
      of: (x) => pixelShuffle(x, 2),
      inputs: [[1, 8, 2, 3]],
      shape: [1, 2, 4, 6],
      values: [0.841470985, 0.74987721, -0.656802495, -0.00885130929],
      sum: 14.2746811,
      squares: [24.4529962],
    },
    {
      of: (x) => pixelUnshuffle(x, 2),
      inputs: [[1, 1, 4, 6]],
      shape: [1, 4, 2, 3],
      values: [0.841470985, 0.856986599, 0.820167037, -0.143538133],
      sum: 7.40438269,
      squares: [12.2867134],
    },
    {
      of: (x) => fold(x, [4, 5], [2, 3], { stride: [1, 2], padding: 1 }),
      inputs: [[1, 12, 15]],
      shape: [1, 2, 4, 5],
      values: [-1.13620657, 2.21643771, 2.96945703, 2.27725268],
      sum: 33.6212708,
      squares: [56.408552],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of).replace(/\s+/g, " "), reference] as const))(
    "%s",
    (_, reference) => agrees(reference, backend),
  );
});

test("are linear in the input, through every transform", async () => {
  await init({ backend: "cpu" });
  const x = random.normal(random.key(0), [2, 3, 5, 4]);
  const up = (x: Tensor) => interpolate(x, { size: [7, 9], mode: "bilinear" });
  const [y, dy] = jvp(up, x, x);
  expect(await dy.toArray()).toEqual(await y.toArray());
  const each = vmap((x: Tensor) => up(x.unsqueeze(0)).squeeze(0))(x);
  expect(await each.toArray()).toEqual(await y.toArray());
  const twice = grad((x: Tensor) =>
    grad((x: Tensor) => up(x).square().sum())(x)
      .square()
      .sum(),
  )(x);
  expect((await twice.isFinite().astype("int32").sum().item()) === x.size).toBe(true);
});

test("infinities stay where they are, and the first of ties gets the gradient", async () => {
  await init({ backend: "cpu" });
  const x = tensor([[[1, Infinity, 1, 1, 1]]]);
  expect(await adaptiveAvgPool1d(x, 3).toArray()).toEqual([[[Infinity, Infinity, 1]]]);
  const g = grad((x: Tensor) => adaptiveMaxPool1d(x, 3).sum())(ones([1, 1, 5]));
  expect(await g.toArray()).toEqual([[[1, 1, 0, 1, 0]]]);
});

test("whole numbers have a nearest one", async () => {
  await init({ backend: "cpu" });
  const mask = tensor([[[1, 2]]], { dtype: "int32" }) as Tensor;
  expect(await interpolate(mask, { scaleFactor: 2 }).toArray()).toEqual([[[1, 1, 2, 2]]]);
  expect(() => interpolate(mask, { size: 4, mode: "linear" })).toThrow(/interpolate: takes floats/);
});

test("inverses and adjoints", async () => {
  await init({ backend: "cpu" });
  const x = random.normal(random.key(1), [2, 4, 6, 6]);
  expect(await pixelShuffle(pixelUnshuffle(x, 3), 3).toArray()).toEqual(await x.toArray());
  const counts = fold(unfold(ones([1, 1, 3, 3]), 2), 3, 2);
  expect(await counts.toArray()).toEqual([
    [
      [
        [1, 2, 1],
        [2, 4, 2],
        [1, 2, 1],
      ],
    ],
  ]);
});

test("what they refuse", () => {
  const x = ones([1, 2, 4]);
  expect(() => interpolate(x, { size: 2, mode: "bilinear" })).toThrow(
    /with 2 axes behind them for "bilinear"/,
  );
  expect(() => interpolate(x, {})).toThrow("interpolate: give either size or scaleFactor.");
  expect(() => interpolate(x, { size: 2, scaleFactor: 2 })).toThrow("give either");
  expect(() => interpolate(x, { size: 2, alignCorners: true })).toThrow(
    /alignCorners is of lines and cubics/,
  );
  expect(() => interpolate(x, { scaleFactor: 0.1 })).toThrow("axis 2 of float32[1,2,4] becomes 0 long");
  expect(() => interpolate(x, { scaleFactor: [2, 2] })).toThrow("scaleFactor has 2 numbers for 1 axes");
  expect(() => interpolate(x, { scale_factor: 2 } as never)).toThrow(/scale_factor/);
  expect(() => adaptiveAvgPool2d(x, 2)).toThrow(/adaptiveAvgPool2d: the input is float32\[1,2,4\]/);
  expect(() => adaptiveMaxPool1d(x, 0)).toThrow("adaptiveMaxPool1d: the size is 0");
  expect(() => pixelShuffle(ones([1, 3, 2, 2]), 2)).toThrow(
    "the 3 channels of float32[1,3,2,2] do not divide by 2 x 2",
  );
  expect(() => fold(ones([1, 4, 5]), 3, 2)).toThrow("the columns float32[1,4,5] are 5 windows; there are 4");
});
