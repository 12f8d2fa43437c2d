// LoRA from nothing: matrices, gradients, a layer with its adapter, AdamW, and the gauge. Nothing is imported, so that every
// line of the argument can be read here. The last line trains one recipe and its partner, and compares all their bits.
//
//   npm run example microlora

/** A matrix, row by row, that knows what it was made of and how a gradient flows back to that. */
class Matrix {
  data: Float64Array;
  grad: Float64Array;
  back: (y: Matrix) => void = () => {};
  from: readonly Matrix[] = [];
  rows: number;
  cols: number;

  constructor(rows: number, cols: number, data = new Float64Array(rows * cols)) {
    [this.rows, this.cols, this.data] = [rows, cols, data];
    this.grad = new Float64Array(rows * cols);
  }

  /** Says what this was made of, and how its gradient becomes theirs. */
  of(from: readonly Matrix[], back: (y: Matrix) => void): Matrix {
    return Object.assign(this, { from, back });
  }

  /** [n, k] [k, m] -> [n, m]. */
  matmul(other: Matrix): Matrix {
    const [n, k, m] = [this.rows, this.cols, other.cols];
    const y = new Matrix(n, m).of([this, other], ({ grad }) => {
      each(n, m, k, (i, j, l) => {
        this.grad[i * k + l]! += grad[i * m + j]! * other.data[l * m + j]!;
        other.grad[l * m + j]! += grad[i * m + j]! * this.data[i * k + l]!;
      });
    });
    each(n, m, k, (i, j, l) => {
      y.data[i * m + j]! += this.data[i * k + l]! * other.data[l * m + j]!;
    });
    return y;
  }

  add(other: Matrix): Matrix {
    const sum = this.data.map((x, i) => x + other.data[i]!);
    return new Matrix(this.rows, this.cols, sum).of([this, other], ({ grad }) => {
      grad.forEach((g, i) => {
        this.grad[i]! += g;
        other.grad[i]! += g;
      });
    });
  }

  /** Each number by f, whose derivative is slope. */
  map(f: (x: number) => number, slope: (x: number) => number): Matrix {
    return new Matrix(this.rows, this.cols, this.data.map(f)).of([this], ({ grad }) => {
      grad.forEach((g, i) => {
        this.grad[i]! += g * slope(this.data[i]!);
      });
    });
  }

  times(factor: number): Matrix {
    const slope = () => factor;
    return this.map((x) => x * factor, slope);
  }

  tanh(): Matrix {
    return this.map(Math.tanh, (x) => 1 - Math.tanh(x) ** 2);
  }

  /** The mean of the squares, a matrix of one number. */
  meanSquare(): Matrix {
    const n = this.data.length;
    const mean = this.data.reduce((sum, x) => sum + x * x, 0) / n;
    return new Matrix(1, 1, Float64Array.of(mean)).of([this], ({ grad }) => {
      this.data.forEach((x, i) => {
        this.grad[i]! += (grad[0]! * 2 * x) / n;
      });
    });
  }

  /** Reverse mode: from here to everything that this was made of, each after all that uses it. */
  backward(): void {
    const order: Matrix[] = [];
    const seen = new Set<Matrix>();
    const visit = (matrix: Matrix) => {
      if (seen.has(matrix)) return;
      seen.add(matrix);
      matrix.from.forEach(visit);
      order.push(matrix);
    };
    visit(this);
    this.grad.fill(1);
    for (const matrix of order.reverse()) matrix.back(matrix);
  }
}

function each(n: number, m: number, k: number, f: (i: number, j: number, l: number) => void): void {
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) for (let l = 0; l < k; l++) f(i, j, l);
}

/** Numbers between -1 and 1 that depend on the seed alone (a linear congruential generator). */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function drawn(rows: number, cols: number, draw: () => number, size = 1): Matrix {
  const numbers = new Float64Array(rows * cols).map(() => size * draw());
  return new Matrix(rows, cols, numbers);
}

interface Group {
  readonly lr: number;
  readonly eps: number;
  readonly weightDecay: number;
}

/** AdamW (Loshchilov and Hutter 2019) of one matrix: after `step()`, it has moved against its gradient. */
function adamw(matrix: Matrix, { lr, eps, weightDecay }: Group, [b1, b2] = [0.9, 0.999]) {
  const [m, v] = [new Float64Array(matrix.data.length), new Float64Array(matrix.data.length)];
  let t = 0;
  return () => {
    t++;
    matrix.grad.forEach((g, i) => {
      m[i] = b1 * m[i]! + (1 - b1) * g;
      v[i] = b2 * v[i]! + (1 - b2) * g * g;
      const update = m[i]! / (1 - b1 ** t) / (Math.sqrt(v[i]! / (1 - b2 ** t)) + eps);
      matrix.data[i]! -= lr * weightDecay * matrix.data[i]! + lr * update;
    });
    matrix.grad.fill(0);
  };
}

/** Everything that people argue about. */
interface Recipe {
  readonly r: number;
  readonly alpha: number;
  /** How large A starts; B starts at 0. */
  readonly startOfA: number;
  readonly groups: { readonly A: Group; readonly B: Group };
}

/**
 * The gauge: A times a, B times b and alpha / (a b). The layer is the same function, the gradients of A and B are divided by
 * a and b, and AdamW moves A by a times, B by b times as much if lr is multiplied, and eps and decay are divided, by them.
 */
function regauged({ r, alpha, startOfA, groups }: Recipe, a: number, b: number): Recipe {
  const scaled = ({ lr, eps, weightDecay }: Group, c: number) => {
    return { lr: lr * c, eps: eps / c, weightDecay: weightDecay / c };
  };
  const moved = { A: scaled(groups.A, a), B: scaled(groups.B, b) };
  return { r, alpha: alpha / (a * b), startOfA: startOfA * a, groups: moved };
}

/** Trains y = tanh(x W0) W1, both frozen and both adapted, on a task, and returns all losses and the last parameters. */
function train({ r, alpha, startOfA, groups }: Recipe, steps: number) {
  const [inputs, hidden, outputs] = [6, 8, 3];
  const draw = draws(1);
  const frozen = [drawn(inputs, hidden, draw), drawn(hidden, outputs, draw)];
  const [x, y] = [drawn(16, inputs, draw), drawn(16, outputs, draw)];
  const adapters = frozen.map(({ rows, cols }) => {
    return { A: drawn(rows, r, draw, startOfA), B: new Matrix(r, cols) };
  });
  const update = adapters.flatMap(({ A, B }) => [adamw(A, groups.A), adamw(B, groups.B)]);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const layer = (input: Matrix, i: number) => {
      const { A, B } = adapters[i]!;
      const change = input
        .matmul(A)
        .matmul(B)
        .times(alpha / r);
      return input.matmul(frozen[i]!).add(change);
    };
    const loss = layer(layer(x, 0).tanh(), 1).add(y.times(-1)).meanSquare();
    loss.backward();
    for (const one of update) one();
    losses.push(loss.data[0]!);
  }
  return { losses, A: adapters.flatMap(({ A }) => [...A.data]), B: adapters.flatMap(({ B }) => [...B.data]) };
}

/** Same bits: of two numbers that are not NaN, Object.is is just that. */
const same = (xs: readonly number[], ys: readonly number[], by = 1) =>
  xs.every((x, i) => Object.is(by * x, ys[i]!));

const group = { lr: 2 ** -6, eps: 1e-8, weightDecay: 0.01 };
const recipe: Recipe = { r: 4, alpha: 8, startOfA: 0.5, groups: { A: group, B: group } };
const [a, b] = [2, 8];

export const partner = regauged(recipe, a, b);
export const [one, other] = [train(recipe, 200), train(partner, 200)];
export const proof = same(one.losses, other.losses) && same(one.A, other.A, a) && same(one.B, other.B, b);

console.log(
  `alpha ${recipe.alpha}, lr ${group.lr}: the loss falls from ${one.losses[0]} to ${one.losses.at(-1)}`,
);
console.log(`alpha ${partner.alpha}, lr ${partner.groups.A.lr} of A and ${partner.groups.B.lr} of B:`);
console.log(`the same run in other units, in every bit of 200 losses and of all parameters: ${proof}`);
