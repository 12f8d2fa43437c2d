import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { type Device, init, random, zeros } from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Fourier transforms, against PyTorch; lengths with factors, small primes and a prime that is convolved.

const { complexMul, fft, ifft, irfft, rfft } = functional;

describeComposed("Fourier transforms", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (z) => fft(z),
      inputs: [[2, 5, 2]],
      shape: [2, 5, 2],
      values: [3.23615008, -0.226672444, -0.723961225, -1.63824659],
      sum: 5.04856765,
      squares: [52.6817122],
    },
    {
      of: (z) => fft(z, { axes: [-2, -1], norm: "ortho" }),
      inputs: [[2, 4, 6, 2]],
      shape: [2, 4, 6, 2],
      values: [1.69258654, 1.22122054, 0.0166576504, 0.0910312507],
      sum: 4.47806043,
      squares: [48.4267466],
    },
    {
      of: (z) => ifft(z, { axes: 0 }),
      inputs: [[72, 2, 2]],
      shape: [72, 2, 2],
      values: [0.284612954, 0.31926479, 0.27724305, 0.327126921],
      sum: 0.797633977,
      squares: [2.00310733],
    },
    {
      of: (x) => rfft(x, { norm: "forward" }),
      inputs: [[2, 7]],
      shape: [2, 4, 2],
      values: [0.368539272, 0, 0.020359881, 0.133257033],
      sum: 1.8784982,
      squares: [0.573503302],
    },
    {
      of: (x) => rfft(x, { axes: [0, 1] }),
      inputs: [[3, 6]],
      shape: [3, 4, 2],
      values: [5.73898625, 0, 1.79515177, 1.48771407],
      sum: 19.6440453,
      squares: [108.383108],
    },
    {
      of: (z) => irfft(z, { axes: [0, 1] }),
      inputs: [[3, 4, 2]],
      shape: [3, 6],
      values: [0.00807549428, -0.407084689, -0.0404083424, 0.0670788223],
      sum: 0.841470985,
      squares: [1.01228865],
    },
    {
      of: (z) => irfft(z, { n: 5 }),
      inputs: [[2, 3, 2]],
      shape: [2, 5],
      values: [0.839155651, 0.0517761638, 0.130404906, -0.145713448],
      sum: 1.59134819,
      squares: [2.07158983],
    },
    {
      of: (z) => fft(z),
      inputs: [[263, 2]],
      shape: [263, 2],
      values: [75.7540767, 81.7282253, -3.23754557, 2.81547288],
      sum: 48.5678127,
      squares: [69312.1521],
    },
    {
      of: (z, w) => complexMul(z, w),
      inputs: [
        [3, 2, 2],
        [2, 2],
      ],
      shape: [3, 2, 2],
      values: [0.2766839, -1.10536049, 0.674879728, -0.418245644],
      sum: 2.00582585,
      squares: [5.67859869, 3.30790958],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of), reference] as const))("%s", (_, reference) =>
    agrees(reference, backend),
  );

  test.each([64, 96, 131, 521, 1024])("the inverse of %i places gives them back", async (n) => {
    const x = random.normal(random.key(n), [3, n]);
    const [same, full] = [
      irfft(rfft(x), { n }),
      ifft(
        fft(
          x.unsqueeze(-1).pad([
            [0, 0],
            [0, 0],
            [0, 1],
          ]),
        ),
      ),
    ];
    const worst = same
      .sub(x)
      .abs()
      .amax()
      .maximum(full.slice([], [3, n, 1]).squeeze(-1).sub(x).abs().amax());
    expect(await worst.item()).toBeLessThan(5e-6);
  });

  test("narrow floats, nothing, and what does not fit", () => {
    expect(fft(zeros([3, 8, 2], { dtype: "bfloat16" })).dtype).toBe("bfloat16");
    expect(rfft(zeros([0, 8])).shape).toEqual([0, 5, 2]);
    expect(() => fft(zeros([4]))).toThrow(/fft: takes pairs along the last axis/);
    expect(() => rfft(zeros([3, 0]))).toThrow(/rfft: axis 1 of .* has no places/);
    expect(() => irfft(zeros([3, 2]), { n: 9 })).toThrow(/irfft: axis 0 of .* has 3 pairs; 9 places have 5/);
    expect(() => fft(zeros([4, 2]), { axes: [0, 0] })).toThrow(/name each once/);
  });
});
