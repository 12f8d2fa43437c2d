// What research asks of an engine beside products and rows: convolutions, orders, decompositions, transforms. Answers by plain
// loops in float64, of rows where all would take long.
import { random, rowsOf } from "./draw.mjs";
import { product, relativeError } from "./float64.mjs";

const zeros = (n) => new Float64Array(n);
const all = (n) => Array.from({ length: n }, (_, i) => i);
const milliseconds = (ms) => [ms, "ms"];

/**
 * A convolution of images [batch, channels, side, side] by windows [outputs, channels, k, k]; with `gradients` those of half
 * the sum of squares of what comes out, by images and windows.
 */
function convolution([batch, channels, side], [outputs, k], { stride = 1, padding }, gradients = false) {
  const x = random([batch, channels, side, side]);
  const w = random([outputs, channels, k, k], (channels * k * k) ** -0.5);
  const places = Math.floor((side + 2 * padding - k) / stride) + 1;
  const window = channels * k * k;
  const known = new Map();
  /** Row i of output o of an image. */
  const rowOf = (n, o, i) => {
    const key = (n * outputs + o) * places + i;
    if (!known.has(key)) known.set(key, computed(n, o, i));
    return known.get(key);
  };
  const computed = (n, o, i) => {
    const row = zeros(places);
    for (let c = 0; c < channels; c++)
      for (let a = 0; a < k; a++) {
        const p = i * stride - padding + a;
        if (p < 0 || p >= side) continue;
        const from = ((n * channels + c) * side + p) * side;
        for (let b = 0; b < k; b++) {
          const factor = w.data[((o * channels + c) * k + a) * k + b];
          for (let j = 0; j < places; j++) {
            const q = j * stride - padding + b;
            if (q >= 0 && q < side) row[j] += factor * x.data[from + q];
          }
        }
      }
    return row;
  };
  const slopeOfImage = (n, c, p) => {
    const row = zeros(side);
    for (let a = 0; a < k; a++) {
      const i = (p + padding - a) / stride;
      if (!Number.isInteger(i) || i < 0 || i >= places) continue;
      for (let o = 0; o < outputs; o++) {
        const y = rowOf(n, o, i);
        for (let b = 0; b < k; b++) {
          const factor = w.data[((o * channels + c) * k + a) * k + b];
          for (let j = 0; j < places; j++) {
            const q = j * stride - padding + b;
            if (q >= 0 && q < side) row[q] += factor * y[j];
          }
        }
      }
    }
    return row;
  };
  const slopeOfWindow = (o) => {
    const slope = zeros(window);
    for (let n = 0; n < batch; n++)
      for (let i = 0; i < places; i++) {
        const y = rowOf(n, o, i);
        for (let at = 0; at < window; at++) {
          const [c, a, b] = [Math.floor(at / (k * k)), Math.floor(at / k) % k, at % k];
          const p = i * stride - padding + a;
          if (p < 0 || p >= side) continue;
          const from = ((n * channels + c) * side + p) * side - padding + b;
          for (let j = 0; j < places; j++) {
            const q = j * stride - padding + b;
            if (q >= 0 && q < side) slope[at] += y[j] * x.data[from + j * stride];
          }
        }
      }
    return slope;
  };
  const flat = (rows, of) => Float64Array.from(rows.flatMap((row) => [...of(row)]));
  const work = 2 * batch * outputs * places * places * window;
  return {
    kind: gradients ? "convolutionGradients" : "convolution",
    inputs: { x, w },
    options: { stride, padding },
    rate: (ms) => [((gradients ? 3 : 1) * work) / ms / 1e6, "GFLOP/s"],
    error([first, second]) {
      if (!gradients) {
        const rows = rowsOf(batch * outputs * places);
        const expected = flat(rows, (row) =>
          rowOf(Math.floor(row / places / outputs), Math.floor(row / places) % outputs, row % places),
        );
        return relativeError(expected, first, rows);
      }
      const rows = rowsOf(batch * channels * side).slice(0, 3);
      const ofImages = flat(rows, (row) =>
        slopeOfImage(Math.floor(row / side / channels), Math.floor(row / side) % channels, row % side),
      );
      const output = Math.floor(outputs / 2);
      return Math.max(
        relativeError(ofImages, first, rows),
        relativeError(slopeOfWindow(output), second, [output]),
      );
    },
  };
}

/** The largest of windows of 3 x 3, every second one. */
function maxPool(batch, channels, side) {
  const x = random([batch, channels, side, side]);
  const places = Math.floor((side - 1) / 2) + 1;
  return {
    kind: "maxPool",
    inputs: { x },
    rate: (ms) => [(4 * batch * channels * (side ** 2 + places ** 2)) / ms / 1e6, "GB/s"],
    error([got]) {
      const expected = zeros(batch * channels * places ** 2);
      for (let at = 0; at < expected.length; at++) {
        const [image, i, j] = [Math.floor(at / places ** 2), Math.floor(at / places) % places, at % places];
        let largest = -Infinity;
        for (let p = Math.max(2 * i - 1, 0); p < Math.min(2 * i + 2, side); p++)
          for (let q = Math.max(2 * j - 1, 0); q < Math.min(2 * j + 2, side); q++)
            largest = Math.max(largest, x.data[(image * side + p) * side + q]);
        expected[at] = largest;
      }
      return relativeError(expected, got);
    },
  };
}

/** Values in order, of each row those that come first. */
function order(kind, rows, n, k) {
  const x = random([rows, n]);
  return {
    kind,
    inputs: { x },
    count: k,
    rate: milliseconds,
    error([got]) {
      const sorted = all(rows).flatMap((row) => {
        const values = x.data.slice(row * n, (row + 1) * n).sort();
        return kind === "sort" ? [...values] : [...values.reverse().subarray(0, k)];
      });
      return relativeError(Float64Array.from(sorted), got);
    },
  };
}

/** A B C of thin matrices: B C first is little work, A B first is 64 MiB. */
function einsum(n, r) {
  const [a, b, c] = [random([n, r]), random([r, n]), random([n, r])];
  return {
    kind: "einsum",
    inputs: { a, b, c },
    options: { formula: "ij,jk,kl->il" },
    rate: milliseconds,
    error([got]) {
      const inner = product(b.data, c.data, r, n, r);
      return relativeError(product(a.data, inner, n, r, r), got);
    },
  };
}

/** Singular values and vectors U, s, V with A = U diag(s) V^T. */
function svd(n) {
  const a = random([n, n]);
  return {
    kind: "svd",
    inputs: { a },
    rate: milliseconds,
    error([u, s, v]) {
      const rows = rowsOf(n);
      const made = rows.map((i) =>
        product(
          Float64Array.from(s, (x, k) => x * u[i * n + k]),
          v,
          1,
          n,
          n,
          true,
        ),
      );
      const given = rows.map((i) => a.data.subarray(i * n, (i + 1) * n));
      return relativeError(
        Float64Array.from(given.flatMap((row) => [...row])),
        Float64Array.from(made.flatMap((row) => [...row])),
      );
    },
  };
}

/** Gradients of a perceptron with tanh for each example by itself: those of the mean squared error of one. */
function perSample([inputs, hidden, outputs], batch) {
  const given = {
    W1: random([hidden, inputs], inputs ** -0.5),
    b1: random([hidden], 0.1),
    W2: random([outputs, hidden], hidden ** -0.5),
    b2: random([outputs], 0.1),
    x: random([batch, inputs]),
    target: random([batch, outputs]),
  };
  const [W1, b1, W2, b2, x, target] = Object.values(given).map(({ data }) => data);
  return {
    kind: "perSample",
    inputs: given,
    rate: milliseconds,
    error(got) {
      const slopes = [hidden * inputs, hidden, outputs * hidden, outputs].map((size) => zeros(batch * size));
      for (let n = 0; n < batch; n++) {
        const row = x.subarray(n * inputs, (n + 1) * inputs);
        const h = product(row, W1, 1, inputs, hidden, true).map((value, i) => Math.tanh(value + b1[i]));
        const y = product(h, W2, 1, hidden, outputs, true);
        const g = y.map((value, i) => (2 * (value + b2[i] - target[n * outputs + i])) / outputs);
        const gh = product(g, W2, 1, outputs, hidden).map((value, i) => value * (1 - h[i] ** 2));
        slopes[0].set(product(gh, row, hidden, 1, inputs), n * hidden * inputs);
        slopes[1].set(gh, n * hidden);
        slopes[2].set(product(g, h, outputs, 1, hidden), n * outputs * hidden);
        slopes[3].set(g, n * outputs);
      }
      return Math.max(...slopes.map((expected, i) => relativeError(expected, got[i])));
    },
  };
}

/** Gradients of the mean square of what a gated recurrent unit (PyTorch's) gives over all steps, by its weights. */
function gru(steps, batch, inputs, hidden) {
  const given = {
    Wx: random([3 * hidden, inputs], inputs ** -0.5),
    Wh: random([3 * hidden, hidden], hidden ** -0.5),
    bx: random([3 * hidden], 0.1),
    bh: random([3 * hidden], 0.1),
    x: random([steps, batch, inputs]),
  };
  const [Wx, Wh, bx, bh, x] = Object.values(given).map(({ data }) => data);
  const sigmoid = (value) => 1 / (1 + Math.exp(-value));
  return {
    kind: "gru",
    inputs: given,
    rate: milliseconds,
    error(got) {
      const slopes = [Wx, Wh, bx, bh].map(({ length }) => zeros(length));
      let h = zeros(batch * hidden);
      const kept = all(steps).map((t) => {
        const row = x.subarray(t * batch * inputs, (t + 1) * batch * inputs);
        const ofInput = product(row, Wx, batch, inputs, 3 * hidden, true);
        const ofState = product(h, Wh, batch, hidden, 3 * hidden, true);
        const [r, z, n, un, next] = all(5).map(() => zeros(batch * hidden));
        for (let i = 0; i < next.length; i++) {
          const at = Math.floor(i / hidden) * 3 * hidden + (i % hidden);
          const [a, b] = [ofInput, ofState].map((sums, which) =>
            all(3).map((gate) => sums[at + gate * hidden] + (which ? bh : bx)[(i % hidden) + gate * hidden]),
          );
          r[i] = sigmoid(a[0] + b[0]);
          z[i] = sigmoid(a[1] + b[1]);
          un[i] = b[2];
          n[i] = Math.tanh(a[2] + r[i] * un[i]);
          next[i] = (1 - z[i]) * n[i] + z[i] * h[i];
        }
        const before = h;
        h = next;
        return { row, before, r, z, n, un, next };
      });
      let g = zeros(batch * hidden);
      for (const { row, before, r, z, n, un, next } of kept.toReversed()) {
        const [gx, gh, gBefore] = [
          zeros(3 * batch * hidden),
          zeros(3 * batch * hidden),
          zeros(batch * hidden),
        ];
        for (let i = 0; i < next.length; i++) {
          const whole = g[i] + (2 * next[i]) / (steps * batch * hidden);
          const at = Math.floor(i / hidden) * 3 * hidden + (i % hidden);
          const gn = whole * (1 - z[i]) * (1 - n[i] ** 2);
          const ofGates = [
            gn * un[i] * r[i] * (1 - r[i]),
            whole * (before[i] - n[i]) * z[i] * (1 - z[i]),
            gn,
          ];
          for (const [gate, value] of ofGates.entries()) {
            gx[at + gate * hidden] = value;
            gh[at + gate * hidden] = gate === 2 ? value * r[i] : value;
          }
          gBefore[i] = whole * z[i];
        }
        for (const [to, slope, from, size] of [
          [0, gx, row, inputs],
          [1, gh, before, hidden],
        ])
          for (let b = 0; b < batch; b++)
            for (let o = 0; o < 3 * hidden; o++) {
              const factor = slope[b * 3 * hidden + o];
              slopes[to + 2][o] += factor;
              for (let k = 0; k < size; k++) slopes[to][o * size + k] += factor * from[b * size + k];
            }
        const back = product(gh, Wh, batch, 3 * hidden, hidden);
        g = gBefore.map((value, i) => value + back[i]);
      }
      return Math.max(...slopes.map((expected, i) => relativeError(expected, got[i])));
    },
  };
}

const images = [32, 64, 56];
const photo = [1, 3, 224];

export const research = {
  "conv 3x3": () => convolution(images, [64, 3], { padding: 1 }),
  "conv 3x3, gradients": () => convolution(images, [64, 3], { padding: 1 }, true),
  "stem 7x7": () => convolution(photo, [64, 7], { stride: 2, padding: 3 }),
  "stem 7x7, gradients": () => convolution(photo, [64, 7], { stride: 2, padding: 3 }, true),
  "max pool": () => maxPool(32, 64, 56),
  "sort 1 M": () => order("sort", 1, 2 ** 20),
  "top 50": () => order("topk", 32, 50000, 50),
  "einsum of three": () => einsum(4096, 16),
  "svd 512": () => svd(512),
  "per-sample gradients": () => perSample([64, 128, 10], 128),
  "gru 64 steps": () => gru(64, 32, 64, 128),
};
