// What every engine computes: inputs drawn once, answers in float64 by plain loops, and how a time becomes a rate.
import { normal, random, rowsOf } from "./draw.mjs";
import { columnSums, erf, layerNormRow, product, relativeError, softmaxRow, transpose } from "./float64.mjs";
import { gradients } from "./gpt.mjs";
import { research } from "./research.mjs";

// These are also those of Lorantz's own benchmarks (src/experiments/bench/functions.ts).

/** Adam in every step: eps at the scale of the gradients, so that answers can be compared. */
export const adam = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-4 };
/** alpha / r of the LoRA step. */
export const scaling = 2;

/** The first update of Adam: both moments are the gradient's, corrected. */
function adamUpdate(parameter, gradient) {
  return Float64Array.from(
    parameter,
    (p, i) => p - (adam.lr * gradient[i]) / (Math.abs(gradient[i]) + adam.eps),
  );
}

const rowsIn = (x, rows, length) => rows.map((row) => x.data.subarray(row * length, (row + 1) * length));

// A problem: its inputs, its work as a rate from milliseconds, and the error of an engine's answer.

/**
 * a b, or a^T b or a b^T if said so, matrix by matrix where there are axes before the last two.
 * @param {number[]} left the shape of a as it is given, before it is transposed; `right` that of b
 */
function matmul(left, right, { transposeA = false, transposeB = false } = {}) {
  const [a, b] = [random(left), random(right)];
  const [rows, columns] = [left.at(-2), left.at(-1)];
  const [m, k] = transposeA ? [columns, rows] : [rows, columns];
  const n = right.at(transposeB ? -2 : -1);
  const batch = left.slice(0, -2).reduce((product, length) => product * length, 1);
  return {
    kind: "matmul",
    inputs: { a, b },
    options: { transposeA, transposeB },
    shape: [...left.slice(0, -2), m, n],
    rate: (ms) => [(2 * batch * m * n * k) / ms / 1e6, "GFLOP/s"],
    error([got]) {
      const some = rowsOf(batch * m);
      const expected = some.flatMap((row) => {
        const [matrix, i] = [Math.floor(row / m), row % m];
        const at = matrix * m * k;
        const line = Float64Array.from(
          { length: k },
          (_, p) => a.data[at + (transposeA ? p * m + i : i * k + p)],
        );
        return [...product(line, b.data.subarray(matrix * k * n, (matrix + 1) * k * n), 1, k, n, transposeB)];
      });
      return relativeError(Float64Array.from(expected), got, some);
    },
  };
}

/** A function of each row; `rows` by `n`. */
function rowwise(kind, rows, n, row) {
  const x = random([rows, n]);
  return {
    kind,
    inputs: { x },
    shape: [rows, n],
    rate: (ms) => [(2 * 4 * rows * n) / ms / 1e6, "GB/s"],
    error([got]) {
      const some = rowsOf(rows);
      return relativeError(Float64Array.from(rowsIn(x, some, n).flatMap(row)), got, some);
    },
  };
}

/** Sums over the first axis or over everything, 4 bytes an element. Numbers about 1, so that sums do not cancel. */
function sum(rows, n, axis) {
  const x = random([rows, n], 0.5);
  x.data.forEach((value, i) => {
    x.data[i] = 1 + value;
  });
  return {
    kind: axis === 0 ? "sumRows" : "sumAll",
    inputs: { x },
    rate: (ms) => [(4 * rows * n) / ms / 1e6, "GB/s"],
    error([got]) {
      const sums = new Float64Array(axis === 0 ? n : 1);
      x.data.forEach((value, i) => {
        sums[i % sums.length] += value;
      });
      return relativeError(sums, got);
    },
  };
}

/** The transposed matrix, stored. */
function transposed(rows, n) {
  const x = random([rows, n]);
  return {
    kind: "transpose",
    inputs: { x },
    rate: (ms) => [(2 * 4 * rows * n) / ms / 1e6, "GB/s"],
    error: ([got]) => relativeError(transpose(x.data, rows, n), got),
  };
}

function chain(n) {
  const [x, y] = [random([n / 64, 64]), random([n / 64, 64])];
  return {
    kind: "chain",
    inputs: { x, y },
    rate: (ms) => [(3 * 4 * n) / ms / 1e6, "GB/s"],
    error: ([got]) =>
      relativeError(
        x.data.map((value, i) => Math.max(value * y.data[i] + 0.5, 0) * value),
        got,
      ),
  };
}

/** y = x W0^T + 2 (x A^T) B^T, mean squared error, Adam on A and B. */
function loraStep(n, r, batch) {
  const inputs = {
    A: random([r, n], n ** -0.5),
    B: random([n, r], 0.1),
    W0: random([n, n], n ** -0.5),
    x: random([batch, n]),
    target: random([batch, n]),
  };
  const { A, B, W0, x, target } = inputs;
  return {
    kind: "loraStep",
    inputs,
    rate: (ms) => [ms, "ms"],
    error([gotA, gotB]) {
      const low = product(x.data, A.data, batch, n, r, true);
      const frozen = product(x.data, W0.data, batch, n, n, true);
      const up = product(low, B.data, batch, r, n, true);
      const g = frozen.map(
        (value, i) => (2 * scaling * (value + scaling * up[i] - target.data[i])) / (batch * n),
      );
      const gB = product(transpose(g, batch, n), low, n, batch, r);
      const gLow = product(g, B.data, batch, n, r);
      const gA = product(transpose(gLow, batch, r), x.data, r, batch, n);
      return Math.max(
        relativeError(adamUpdate(A.data, gA), gotA),
        relativeError(adamUpdate(B.data, gB), gotB),
      );
    },
  };
}

/** Linear, GELU, linear, with biases; mean squared error; Adam. */
function mlpStep(a, b, c, batch) {
  const inputs = {
    W1: random([b, a], a ** -0.5),
    b1: random([b], 0.1),
    W2: random([c, b], b ** -0.5),
    b2: random([c], 0.1),
    x: random([batch, a]),
    target: random([batch, c]),
  };
  const { W1, b1, W2, b2, x, target } = inputs;
  return {
    kind: "mlpStep",
    inputs,
    rate: (ms) => [ms, "ms"],
    error([gotW1, gotB1, gotW2, gotB2]) {
      const h = product(x.data, W1.data, batch, a, b, true).map((value, i) => value + b1.data[i % b]);
      const half = h.map((value) => 0.5 * (1 + erf(value / Math.SQRT2)));
      const gelu = h.map((value, i) => value * half[i]);
      const y = product(gelu, W2.data, batch, b, c, true).map((value, i) => value + b2.data[i % c]);
      const g = y.map((value, i) => (2 * (value - target.data[i])) / (batch * c));
      const gW2 = product(transpose(g, batch, c), gelu, c, batch, b);
      const slope = (i) => half[i] + (h[i] * Math.exp((-h[i] * h[i]) / 2)) / Math.sqrt(2 * Math.PI);
      const gH = product(g, W2.data, batch, c, b).map((value, i) => value * slope(i));
      const gW1 = product(transpose(gH, batch, b), x.data, b, batch, a);
      return Math.max(
        relativeError(adamUpdate(W1.data, gW1), gotW1),
        relativeError(adamUpdate(b1.data, columnSums(gH, b)), gotB1),
        relativeError(adamUpdate(W2.data, gW2), gotW2),
        relativeError(adamUpdate(b2.data, columnSums(g, c)), gotB2),
      );
    },
  };
}

/** Random parameters of a GPT by their paths, in the order in which an input passes them. */
function gptParams({ vocabulary, width, layers, context }) {
  const params = {
    "embedding.weight": random([vocabulary, width], 0.1),
    "positions.weight": random([context, width], 0.1),
  };
  const norm = (name) => {
    params[`${name}.weight`] = random([width], 0.1);
    params[`${name}.weight`].data.forEach((value, i, data) => {
      data[i] = 1 + value;
    });
    params[`${name}.bias`] = random([width], 0.1);
  };
  const linear = (name, inputs, outputs) => {
    params[`${name}.weight`] = random([outputs, inputs], inputs ** -0.5);
    // Keys have none: softmax does not see what all scores of a query share.
    if (!name.endsWith(".k")) params[`${name}.bias`] = random([outputs], 0.1);
  };
  for (let i = 0; i < layers; i++) {
    const block = `block${i}`;
    norm(`${block}.norm1`);
    for (const name of ["q", "k", "v", "out"]) linear(`${block}.${name}`, width, width);
    norm(`${block}.norm2`);
    linear(`${block}.mlp.fc1`, width, 4 * width);
    linear(`${block}.mlp.fc2`, 4 * width, width);
  }
  norm("norm");
  linear("output", width, vocabulary);
  return params;
}

/**
 * A transformer that predicts the next token (Radford et al. 2018): token and position embeddings; blocks of causal
 * attention and of a perceptron with GELU, each after a layer norm and added to its input; a layer norm and a linear
 * map to logits. Cross entropy, Adam on all parameters.
 */
function gptStep(options, batch) {
  const { vocabulary, context } = options;
  const params = gptParams(options);
  const ids = () => ({
    shape: [batch, context],
    data: Int32Array.from({ length: batch * context }, () => Math.floor(Math.abs(normal(1e6))) % vocabulary),
  });
  const [tokens, targets] = [ids(), ids()];
  return {
    kind: "gptStep",
    inputs: { ...params, tokens, targets },
    options,
    rate: (ms) => [ms, "ms"],
    error(got) {
      const values = Object.fromEntries(Object.entries(params).map(([name, { data }]) => [name, data]));
      const found = gradients(values, tokens.data, targets.data, options);
      const errors = Object.entries(values).map(([name, value], i) =>
        relativeError(adamUpdate(value, found[name]), got[i]),
      );
      return Math.max(...errors);
    },
  };
}

/** Additions of 16 numbers, each an operation of its own where the engine does not compile. */
function tiny(count) {
  // Not all numbers are equal: jax-js folds arrays of constants on the host.
  const [x, y] = [random([16]), { shape: [16], data: new Float32Array(16).fill(0.5) }];
  return {
    kind: "tiny",
    count,
    inputs: { x, y },
    rate: (ms) => [(1000 * ms) / count, "us"],
    error: ([got]) =>
      relativeError(
        x.data.map((value) => value + 0.5 * count),
        got,
      ),
  };
}

/** Largest error relative to the largest magnitude that an answer may have. */
export const tolerance = 1e-4;

const square = (n) => matmul([n, n], [n, n]);

/** Shapes are written m x k x n, of the product and not of what is given. */
const A = { transposeA: true };
const B = { transposeB: true };

/** Sets of problems by name. Each problem is made when its turn comes, so that no inputs lie about. */
export const sets = {
  main: {
    "matmul 512": () => square(512),
    "matmul 1024": () => square(1024),
    chain: () => chain(2 ** 22),
    softmax: () => rowwise("softmax", 1024, 1024, softmaxRow),
    "layer norm": () => rowwise("layerNorm", 1024, 1024, layerNormRow),
    "lora step": () => loraStep(1024, 8, 256),
    "mlp step": () => mlpStep(512, 1024, 512, 128),
    "gpt step": () => gptStep({ vocabulary: 96, width: 128, layers: 4, heads: 4, context: 64 }, 8),
    "tiny op": () => tiny(1000),
  },
  skinny: {
    "A B^T 256x1024x8": () => matmul([256, 1024], [8, 1024], B),
    "A B 256x8x1024": () => matmul([256, 8], [8, 1024]),
    "A^T B 8x256x1024": () => matmul([256, 8], [256, 1024], A),
    "4096x8x4096": () => matmul([4096, 8], [8, 4096]),
    "1x4096x4096": () => matmul([1, 4096], [4096, 4096]),
    "B^T 1x4096x4096": () => matmul([1, 4096], [4096, 4096], B),
    "4096x4096x1": () => matmul([4096, 4096], [4096, 1]),
  },
  odd: {
    "509x521x503": () => matmul([509, 521], [521, 503]),
    "127x1023x65": () => matmul([127, 1023], [1023, 65]),
    "33x33x33": () => square(33),
    "A^T B 512": () => matmul([512, 512], [512, 512], A),
    "A B^T 512": () => matmul([512, 512], [512, 512], B),
    "A B^T 1023x255x511": () => matmul([1023, 255], [511, 255], B),
  },
  batched: {
    "16 of 128x128x128": () => matmul([16, 128, 128], [16, 128, 128]),
    "64 of 64x64x64": () => matmul([64, 64, 64], [64, 64, 64]),
    "q k^T 8x4 of 64x32x64": () => matmul([8, 4, 64, 32], [8, 4, 64, 32], B),
    "p v 8x4 of 64x64x32": () => matmul([8, 4, 64, 64], [8, 4, 64, 32]),
    "p^T g 8x4 of 64x64x32": () => matmul([8, 4, 64, 64], [8, 4, 64, 32], A),
  },
  rows: {
    "softmax 64x16384": () => rowwise("softmax", 64, 16384, softmaxRow),
    "softmax 65536x16": () => rowwise("softmax", 65536, 16, softmaxRow),
    "layer norm 64x16384": () => rowwise("layerNorm", 64, 16384, layerNormRow),
    "layer norm 65536x16": () => rowwise("layerNorm", 65536, 16, layerNormRow),
    "sum 2048x2048": () => sum(2048, 2048),
    "sum rows 2048x2048": () => sum(2048, 2048, 0),
    "transpose 2048x2048": () => transposed(2048, 2048),
  },
  research,
};
