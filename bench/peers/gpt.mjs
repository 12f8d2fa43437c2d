// The gradients of a GPT's cross entropy in float64: each step forward puts its step backward on a tape.
import { columnSums, erf, product, transpose } from "./float64.mjs";

/**
 * @param {Record<string, ArrayLike<number>>} params by path, matrices `[outputs, inputs]`
 * @param {Int32Array} tokens `[batch, context]`; `targets` too
 * @returns {Record<string, Float64Array>} the gradients, by path
 */
export function gradients(params, tokens, targets, { vocabulary, width, layers, heads, context }) {
  const rows = tokens.length;
  const tape = [];
  const found = {};
  /** A value and the gradient that its readers add to. */
  const value = (data) => ({ data, gradient: new Float64Array(data.length) });
  const addTo = ({ gradient }, more) =>
    more.forEach((g, i) => {
      gradient[i] += g;
    });

  function linear(x, name, inputs, outputs) {
    const [weight, bias] = [params[`${name}.weight`], params[`${name}.bias`]];
    const y = value(
      product(x.data, weight, rows, inputs, outputs, true).map((v, i) => v + (bias?.[i % outputs] ?? 0)),
    );
    tape.push(() => {
      found[`${name}.weight`] = product(transpose(y.gradient, rows, outputs), x.data, outputs, rows, inputs);
      if (bias) found[`${name}.bias`] = columnSums(y.gradient, outputs);
      addTo(x, product(y.gradient, weight, rows, outputs, inputs));
    });
    return y;
  }

  function layerNorm(x, name) {
    const [weight, bias] = [params[`${name}.weight`], params[`${name}.bias`]];
    const normal = new Float64Array(rows * width);
    const scales = new Float64Array(rows);
    const mean = (f) => Array.from({ length: width }, (_, j) => f(j)).reduce((a, b) => a + b) / width;
    for (let row = 0; row < rows; row++) {
      const at = row * width;
      const center = mean((j) => x.data[at + j]);
      scales[row] = 1 / Math.sqrt(mean((j) => (x.data[at + j] - center) ** 2) + 1e-5);
      for (let j = 0; j < width; j++) normal[at + j] = (x.data[at + j] - center) * scales[row];
    }
    const y = value(normal.map((v, i) => v * weight[i % width] + bias[i % width]));
    tape.push(() => {
      found[`${name}.weight`] = columnSums(
        y.gradient.map((g, i) => g * normal[i]),
        width,
      );
      found[`${name}.bias`] = columnSums(y.gradient, width);
      const g = y.gradient.map((v, i) => v * weight[i % width]);
      for (let row = 0; row < rows; row++) {
        const at = row * width;
        const center = mean((j) => g[at + j]);
        const slope = mean((j) => g[at + j] * normal[at + j]);
        for (let j = 0; j < width; j++)
          x.gradient[at + j] += scales[row] * (g[at + j] - center - normal[at + j] * slope);
      }
    });
    return y;
  }

  function gelu(x) {
    const half = x.data.map((v) => 0.5 * (1 + erf(v / Math.SQRT2)));
    const y = value(x.data.map((v, i) => v * half[i]));
    tape.push(() => {
      const slope = (v, i) => half[i] + (v * Math.exp((-v * v) / 2)) / Math.sqrt(2 * Math.PI);
      addTo(
        x,
        y.gradient.map((g, i) => g * slope(x.data[i], i)),
      );
    });
    return y;
  }

  function add(a, b) {
    const y = value(a.data.map((v, i) => v + b.data[i]));
    tape.push(() => {
      addTo(a, y.gradient);
      addTo(b, y.gradient);
    });
    return y;
  }

  /** Causal, each head on its own part of the width. */
  function attention(q, k, v) {
    const d = width / heads;
    const y = value(new Float64Array(rows * width));
    const dot = (a, i, b, j) => {
      let sum = 0;
      for (let p = 0; p < d; p++) sum += a[i + p] * b[j + p];
      return sum;
    };
    for (let first = 0; first < rows; first += context) {
      for (let head = 0; head < heads; head++) {
        const at = (i) => (first + i) * width + head * d;
        for (let i = 0; i < context; i++) {
          const powers = Array.from({ length: i + 1 }, (_, j) =>
            Math.exp(dot(q.data, at(i), k.data, at(j)) / Math.sqrt(d)),
          );
          const sum = powers.reduce((a, b) => a + b);
          const shares = powers.map((power) => power / sum);
          shares.forEach((share, j) => {
            for (let p = 0; p < d; p++) y.data[at(i) + p] += share * v.data[at(j) + p];
          });
          tape.push(() => {
            const slopes = shares.map((_, j) => dot(y.gradient, at(i), v.data, at(j)));
            const mean = shares.reduce((total, share, j) => total + share * slopes[j], 0);
            shares.forEach((share, j) => {
              const g = (share * (slopes[j] - mean)) / Math.sqrt(d);
              for (let p = 0; p < d; p++) {
                v.gradient[at(j) + p] += share * y.gradient[at(i) + p];
                q.gradient[at(i) + p] += g * k.data[at(j) + p];
                k.gradient[at(j) + p] += g * q.data[at(i) + p];
              }
            });
          });
        }
      }
    }
    return y;
  }

  function embed() {
    const [embedding, positions] = [params["embedding.weight"], params["positions.weight"]];
    const places = (i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      return [tokens[row] * width + column, (row % context) * width + column];
    };
    const y = value(
      Float64Array.from({ length: rows * width }, (_, i) => {
        const [token, position] = places(i);
        return embedding[token] + positions[position];
      }),
    );
    tape.push(() => {
      found["embedding.weight"] = new Float64Array(embedding.length);
      found["positions.weight"] = new Float64Array(positions.length);
      y.gradient.forEach((g, i) => {
        const [token, position] = places(i);
        found["embedding.weight"][token] += g;
        found["positions.weight"][position] += g;
      });
    });
    return y;
  }

  let x = embed();
  for (let i = 0; i < layers; i++) {
    const block = `block${i}`;
    const before = layerNorm(x, `${block}.norm1`);
    const [q, k, v] = ["q", "k", "v"].map((name) => linear(before, `${block}.${name}`, width, width));
    const attended = add(x, linear(attention(q, k, v), `${block}.out`, width, width));
    const hidden = linear(layerNorm(attended, `${block}.norm2`), `${block}.mlp.fc1`, width, 4 * width);
    x = add(attended, linear(gelu(hidden), `${block}.mlp.fc2`, 4 * width, width));
  }
  const logits = linear(layerNorm(x, "norm"), "output", width, vocabulary);
  for (let row = 0; row < rows; row++) {
    const line = logits.data.subarray(row * vocabulary, (row + 1) * vocabulary);
    const sum = line.reduce((total, logit) => total + Math.exp(logit), 0);
    line.forEach((logit, j) => {
      const right = j === targets[row] ? 1 : 0;
      logits.gradient[row * vocabulary + j] = (Math.exp(logit) / sum - right) / rows;
    });
  }
  for (const backward of tape.reverse()) backward();
  return found;
}
