import type { DiscoverOptions } from "../src/gauge/index.ts";
import * as optim from "../src/optim/index.ts";
import { scalar, tensor, zerosLike } from "../src/tensor/creation.ts";
import { where } from "../src/tensor/functions.ts";
import * as random from "../src/tensor/random.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import * as tree from "../src/tensor/tree.ts";

// Optimizers that the library does not know, written as users write them, with what is true of them.

type Slots = Readonly<Record<string, Tensor>>;
type Hyper = Readonly<Record<string, number>>;

/** What discovery must say: powers, that there are none, or what is wrong with the optimizer. */
export interface Animal {
  readonly make: (hyper: Hyper) => optim.Optimizer;
  readonly hyper: object;
  readonly powers?: Readonly<Record<string, number>>;
  readonly state?: Readonly<Record<string, number>>;
  readonly none?: true;
  /** The update of the counterexample. */
  readonly at?: number;
  readonly perShape?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly fault?: string;
  /** What the text must say. */
  readonly says?: RegExp;
  readonly options?: Partial<DiscoverOptions<object>>;
}

/** An optimizer whose state is a tree for each slot. */
export function each(
  slots: (p: Tensor) => Slots,
  step: (g: Tensor, p: Tensor, s: Slots, t: optim.HostNumber) => readonly [Tensor, Slots],
): optim.Optimizer {
  return {
    name: "mine",
    defaults: {},
    hyper: () => ({}),
    init: (params) => ({ step: scalar(0), own: tree.map(params, slots) }),
    update<P>(gradients: P, state: optim.OptimizerState, params: P): [P, optim.OptimizerState] {
      const t = state.step.add(1);
      const own = state.own as Record<string, Slots>;
      const done = tree
        .entries(params)
        .map(
          ([path, p]) =>
            [path, step((gradients as Record<string, Tensor>)[path]!, p, own[path]!, t)] as const,
        );
      const updates = Object.fromEntries(done.map(([path, [u]]) => [path, u]));
      const next = Object.fromEntries(done.map(([path, [, s]]) => [path, s]));
      return [updates as P, { step: t, own: next }];
    },
  };
}

const none = () => ({});
const zeros =
  (...names: string[]) =>
  (p: Tensor): Slots =>
    Object.fromEntries(names.map((name) => [name, zerosLike(p)]));
const average = (m: Tensor, g: Tensor, beta: number) => m.mul(beta).add(g.mul(1 - beta));
const norm = (x: Tensor) => x.square().sum().sqrt();
const rms = (x: Tensor) => x.square().mean().sqrt();
const plain = (f: (g: Tensor, p: Tensor, t: optim.HostNumber) => Tensor) =>
  each(none, (g, p, _, t) => [f(g, p, t), {}]);

/** Adam's direction with its moments, without correction. */
function adam(g: Tensor, s: Slots, eps: number): readonly [Tensor, Slots] {
  const [m, v] = [average(s.m!, g, 0.9), average(s.v!, g.square(), 0.99)];
  return [m.div(v.sqrt().add(eps)), { m, v }];
}

/** Muon's iteration on a matrix, the short side first. */
function orthogonal(m: Tensor, eps: number): Tensor {
  const tall = m.shape[0]! > m.shape[1]!;
  let x = tall ? m.transpose() : m;
  x = x.div(norm(x).add(eps));
  for (let i = 0; i < 3; i++) {
    const a = x.matmul(x.transpose());
    x = x.mul(3.4445).add(a.mul(-4.775).add(a.matmul(a).mul(2.0315)).matmul(x));
  }
  return tall ? x.transpose() : x;
}

const moments = { "own.m": -1, "own.v": -2 };

/** Second moments by row and column for matrices, of each number for vectors. */
function adafactor(h: Hyper, floor: number): optim.Optimizer {
  return each(
    (p) =>
      p.rank === 2
        ? {
            rows: zerosLike(p.mean([1], { keepdim: true })),
            columns: zerosLike(p.mean([0], { keepdim: true })),
          }
        : { v: zerosLike(p) },
    (g, p, s) => {
      const square = g.square().add(h.eps!);
      const next: Slots =
        p.rank === 2
          ? {
              rows: average(s.rows!, square.mean([1], { keepdim: true }), 0.9),
              columns: average(s.columns!, square.mean([0], { keepdim: true }), 0.9),
            }
          : { v: average(s.v!, square, 0.9) };
      const second = next.v ?? next.rows!.mul(next.columns!).div(next.rows!.mean());
      const u = g.div(second.sqrt());
      const clipped = u.div(rms(u).div(h.clip!).maximum(1));
      return [clipped.mul(rms(p).maximum(floor)).mul(-h.lr!), next];
    },
  );
}

/** Prodigy: the distance from the start is estimated, and sizes the steps. */
function prodigy(h: Hyper, sized: (d: Tensor) => Tensor): optim.Optimizer {
  return each(
    (p) => ({
      ...zeros("m", "v", "s")(p),
      start: p.mul(1),
      part: zerosLike(p.sum()),
      d: zerosLike(p.sum()).add(h.d0!),
    }),
    (g, p, { m, v, s, start, part, d }) => {
      const nextPart = part!.mul(0.99).add(d!.mul(g.mul(start!.sub(p)).sum()).mul(0.01));
      const nextS = s!.mul(0.99).add(g.mul(d!).mul(0.01));
      const size = nextS.abs().sum();
      const estimate = where(size.gt(0), nextPart.div(size), 0);
      const next = d!.maximum(estimate);
      const [m1, v1] = [average(m!, g.mul(d!), 0.9), average(v!, g.mul(d!).square(), 0.99)];
      const u = m1
        .div(v1.sqrt().add(sized(d!).mul(h.eps!)))
        .mul(d!)
        .mul(-h.lr!);
      return [u, { m: m1, v: v1, s: nextS, start: start!, part: nextPart, d: next }];
    },
  );
}

/** One optimizer until an update, another one afterwards. */
const change = (at: number, h: Hyper) => plain((g, _, t) => where(t.gt(at), g.sign(), g).mul(-h.lr!));

const lr = 0.1;

export const zoo: Readonly<Record<string, Animal>> = {
  "Adam without bias correction": {
    make: (h) =>
      each(zeros("m", "v"), (g, _, s) => {
        const [u, next] = adam(g, s, h.eps!);
        return [u.mul(-h.lr!), next];
      }),
    hyper: { lr, eps: 1e-8 },
    powers: { lr: 1, eps: -1 },
    state: moments,
  },
  "AdaBelief with two eps": {
    make: (h) =>
      each(zeros("m", "v"), (g, _, s) => {
        const m = average(s.m!, g, 0.9);
        const v = average(s.v!, g.sub(m).square(), 0.99).add(h.inner!);
        return [m.div(v.sqrt().add(h.eps!)).mul(-h.lr!), { m, v }];
      }),
    hyper: { lr, eps: 1e-8, inner: 1e-16 },
    powers: { lr: 1, eps: -1, inner: -2 },
    state: moments,
  },
  "AdaBelief as published, one eps in two places": {
    make: (h) =>
      each(zeros("m", "v"), (g, _, s) => {
        const m = average(s.m!, g, 0.9);
        const v = average(s.v!, g.sub(m).square(), 0.99).add(h.eps!);
        return [m.div(v.sqrt().add(h.eps!)).mul(-h.lr!), { m, v }];
      }),
    hyper: { lr, eps: 1e-8 },
    none: true,
  },
  "Yogi with its initial accumulator": {
    make: (h) =>
      each(
        (p) => ({ m: zerosLike(p), v: zerosLike(p).add(h.initial!) }),
        (g, _, s) => {
          const m = average(s.m!, g, 0.9);
          const v = s.v!.sub(s.v!.sub(g.square()).sign().mul(g.square()).mul(0.01));
          return [m.div(v.sqrt().add(h.eps!)).mul(-h.lr!), { m, v }];
        },
      ),
    hyper: { lr, eps: 1e-3, initial: 1e-6 },
    powers: { lr: 1, eps: -1, initial: -2 },
    state: moments,
  },
  "AdaBound: bounds on the rate": {
    make: (h) =>
      each(zeros("m", "v"), (g, _, s, t) => {
        const [m, v] = [average(s.m!, g, 0.9), average(s.v!, g.square(), 0.99)];
        const low = scalar(h.final!).mul(scalar(1).sub(scalar(1).div(t.mul(h.gamma!).add(1))));
        const high = scalar(h.final!).mul(scalar(1).add(scalar(1).div(t.mul(h.gamma!))));
        const rate = zerosLike(v).add(h.lr!).div(v.sqrt().add(h.eps!)).maximum(low).minimum(high);
        return [m.mul(rate).neg(), { m, v }];
      }),
    hyper: { lr, final: 0.1, gamma: 1e-3, eps: 1e-8 },
    powers: { lr: 1, final: 2, gamma: 0, eps: -1 },
  },
  "Sophia: a clipped ratio of moments": {
    make: (h) =>
      each(zeros("m", "h"), (g, _, s) => {
        const [m, curvature] = [average(s.m!, g, 0.9), average(s.h!, g.square(), 0.99)];
        return [m.div(curvature.mul(h.rho!).maximum(h.eps!)).clamp(-1, 1).mul(-h.lr!), { m, h: curvature }];
      }),
    hyper: { lr, rho: 0.04, eps: 1e-12 },
    powers: { lr: 1, rho: 1, eps: -1 },
    state: { "own.m": -1, "own.h": -2 },
  },
  "Prodigy, its d0 a size of parameters": {
    make: (h) => prodigy(h, (d) => d),
    hyper: { lr: 1, d0: 1e-6, eps: 1e-8 },
    powers: { lr: 0, d0: 1, eps: -1 },
    state: { "own.d": 1, "own.start": 1, "own.m": 0, "own.v": 0, "own.s": 0, "own.part": 1 },
  },
  "Prodigy whose eps forgets d": {
    make: (h) => prodigy(h, (d) => zerosLike(d).add(1)),
    hyper: { lr: 1, d0: 1e-6, eps: 1e-8 },
    powers: { lr: 0, d0: 1, eps: 0 },
  },
  "D-Adaptation, of SGD": {
    make: (h) =>
      each(
        (p) => ({
          s: zerosLike(p),
          first: zerosLike(p.sum()),
          part: zerosLike(p.sum()),
          d: zerosLike(p.sum()).add(h.d0!),
        }),
        (g, _, { s, first, part, d }) => {
          const size = where(first!.gt(0), first!, norm(g));
          const rate = d!.mul(h.lr!).div(size);
          const nextS = s!.add(g.mul(rate));
          const nextPart = part!.add(rate.mul(g.mul(s!).sum()));
          const length = norm(nextS);
          const next = d!.maximum(where(length.gt(0), nextPart.div(length), 0));
          return [g.mul(rate).neg(), { s: nextS, first: size, part: nextPart, d: next }];
        },
      ),
    hyper: { lr: 1, d0: 1e-6 },
    powers: { lr: 0, d0: 1 },
  },
  "Adafactor, its floor a hyperparameter": {
    make: (h) => adafactor(h, h.floor!),
    hyper: { lr, eps: 1e-30, floor: 1e-3, clip: 1 },
    powers: { lr: 0, eps: -2, floor: 1, clip: 0 },
  },
  "Adafactor with the floor 1e-3 written into it": {
    make: (h) => adafactor(h, 1e-3),
    hyper: { lr, eps: 1e-30, clip: 1 },
    none: true,
  },
  "Shampoo on one side, Adagrad for vectors": {
    make: (h) =>
      each(
        (p) => ({ l: p.rank === 2 ? zerosLike(p.matmul(p.transpose())) : zerosLike(p) }),
        (g, p, s) => {
          if (p.rank !== 2) {
            const l = s.l!.add(g.square());
            return [g.div(l.add(h.eps!).sqrt()).mul(-h.lr!), { l }];
          }
          const l = s.l!.add(g.matmul(g.transpose()));
          const n = g.shape[0]!;
          const eye: Tensor = tensor(
            Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) ? 0 : 1)),
            { shape: [n, n], dtype: "float64" },
          );
          const a = l.add(eye.mul(h.eps!));
          const size = norm(a);
          let [y, z]: [Tensor, Tensor] = [a.div(size), eye];
          for (let i = 0; i < 12; i++) {
            const w = eye.mul(3).sub(z.matmul(y)).mul(0.5);
            [y, z] = [y.matmul(w), w.matmul(z)];
          }
          return [z.div(size.sqrt()).matmul(g).mul(-h.lr!), { l }];
        },
      ),
    hyper: { lr, eps: 1e-2 },
    powers: { lr: 1, eps: -2 },
    state: { "own.l": -2 },
  },
  "Muon, and Adam for vectors": {
    make: (h) =>
      each(
        (p) => (p.rank === 2 ? zeros("velocity")(p) : zeros("m", "v")(p)),
        (g, p, s) => {
          if (p.rank === 2) {
            const velocity = s.velocity!.mul(0.9).add(g);
            return [orthogonal(velocity, h.eps!).mul(-h.lr!), { velocity }];
          }
          const [u, next] = adam(g, s, h.adamEps!);
          return [u.mul(-h.adamLr!), next];
        },
      ),
    hyper: { lr: 0.02, eps: 1e-7, adamLr: 1e-3, adamEps: 1e-8 },
    powers: { lr: 1, eps: -1, adamLr: 1, adamEps: -1 },
    state: { "own.velocity": -1, ...moments },
  },
  "Muon for matrices, SGD for vectors with the same rate": {
    make: (h) => plain((g, p) => (p.rank === 2 ? orthogonal(g, h.eps!) : g).mul(-h.lr!)),
    hyper: { lr: 0.02, eps: 1e-7 },
    none: true,
    perShape: { "[2,3]": { lr: 1, eps: -1 }, "[3,2]": { lr: 1, eps: -1 }, "[4]": { lr: 2, eps: 0 } },
  },
  "Muon without a form for vectors": {
    make: (h) => plain((g) => orthogonal(g, h.eps!).mul(-h.lr!)),
    hyper: { lr: 0.02, eps: 1e-7 },
    powers: { lr: 1, eps: -1 },
    says: /Not for shape \[4\]: update 1 throws/,
  },
  LARS: {
    make: (h) =>
      plain((g, p) => {
        const trust = norm(p)
          .mul(h.trust!)
          .div(norm(g).add(norm(p).mul(h.wd!)).add(h.eps!));
        return g.add(p.mul(h.wd!)).mul(trust).mul(-h.lr!);
      }),
    hyper: { lr, trust: 1e-3, wd: 1e-4, eps: 1e-9 },
    powers: { wd: -2, eps: -1, lr: 0 },
  },
  "centred gradients": {
    make: (h) => plain((g) => (g.rank === 2 ? g.sub(g.mean([1], { keepdim: true })) : g).mul(-h.lr!)),
    hyper: { lr },
    powers: { lr: 2 },
  },
  "cautious AdamW": {
    make: (h) =>
      each(zeros("m", "v"), (g, p, s) => {
        const [u, next] = adam(g, s, h.eps!);
        const mask = where(u.mul(g).gt(0), zerosLike(u).add(1), 0);
        const masked = u.mul(mask).div(mask.mean().maximum(1e-3));
        return [masked.mul(-h.lr!).sub(p.mul(h.lr! * h.wd!)), next];
      }),
    hyper: { lr, eps: 1e-8, wd: 0.01 },
    powers: { lr: 1, eps: -1, wd: -1 },
  },
  "schedule-free SGD": {
    make: (h) =>
      each(
        (p) => ({ z: p.mul(1), x: p.mul(1) }),
        (g, p, s, t) => {
          const z = s.z!.sub(g.mul(h.lr!));
          const x = s.x!.add(z.sub(s.x!).div(t));
          return [
            z
              .mul(1 - h.beta!)
              .add(x.mul(h.beta!))
              .sub(p),
            { z, x },
          ];
        },
      ),
    hyper: { lr, beta: 0.9 },
    powers: { lr: 2, beta: 0 },
    state: { "own.z": 1, "own.x": 1 },
  },
  "Lookahead around Adam": {
    make: (h) =>
      each(
        (p) => ({ ...zeros("m", "v")(p), slow: p.mul(1) }),
        (g, p, s, t) => {
          const [u, next] = adam(g, s, h.eps!);
          const fast = p.sub(u.mul(h.lr!));
          const sync = t.div(5).floor().mul(5).eq(t);
          const slow = where(sync, s.slow!.add(fast.sub(s.slow!).mul(h.alpha!)), s.slow!);
          return [where(sync, slow, fast).sub(p), { ...next, slow }];
        },
      ),
    hyper: { lr, eps: 1e-8, alpha: 0.5 },
    powers: { lr: 1, eps: -1, alpha: 0 },
    state: { ...moments, "own.slow": 1 },
  },
  "clipped by element, by norm, and the update by its RMS": {
    make: (h) =>
      plain((g) => {
        const clipped = g.clamp(-h.each!, h.each!);
        const whole = clipped.mul(
          zerosLike(norm(clipped)).add(h.whole!).div(norm(clipped).add(1e-300)).minimum(1),
        );
        const u = whole.mul(h.lr!);
        return u.div(rms(u).div(h.update!).maximum(1)).neg();
      }),
    hyper: { lr: 3, each: 1, whole: 1.5, update: 1 },
    powers: { lr: 2, each: -1, whole: -1, update: 1 }, // the 1e-300 is out of the range that is looked at
    says: /gradients from \de-85/,
  },
  "clipped by element and norm": {
    make: (h) =>
      plain((g) => {
        const clipped = g.clamp(-h.each!, h.each!);
        return clipped
          .mul(zerosLike(norm(clipped)).add(h.whole!).div(norm(clipped).add(h.eps!)).minimum(1))
          .mul(-h.lr!);
      }),
    hyper: { lr, each: Infinity, whole: 1.5, eps: 1e-6 },
    powers: { lr: 2, each: -1, whole: -1, eps: -1 },
  },
  "decay of cubes, and of signs": {
    make: (h) => plain((g, p) => g.add(p.mul(p).mul(p).mul(h.cubic!)).add(p.sign().mul(h.l1!)).mul(-h.lr!)),
    hyper: { lr, cubic: 0.1, l1: 0.01 },
    powers: { lr: 2, cubic: -4, l1: -1 },
  },
  "momentum that warms up": {
    make: (h) =>
      each(zeros("m"), (g, _, s, t) => {
        const beta = t.div(t.add(h.warm!)).minimum(h.beta!);
        const m = s.m!.mul(beta).add(g);
        return [m.mul(-h.lr!), { m }];
      }),
    hyper: { lr, beta: 0.95, warm: 10 },
    powers: { lr: 2, beta: 0, warm: 0 },
  },
  "another rule after 100 updates": { make: (h) => change(100, h), hyper: { lr }, none: true, at: 101 },
  "another rule after 5,000 updates": { make: (h) => change(5000, h), hyper: { lr }, none: true, at: 10001 },
  "noise from a seed": {
    make: (h) =>
      plain((g, _, t) => {
        const draw = random.normal(random.key(h.seed!).fold(t), g.shape).astype("float64");
        return g.add(draw.mul(h.sigma!)).mul(-h.lr!);
      }),
    hyper: { lr, sigma: 0.1, seed: 7 },
    powers: { lr: 2, sigma: -1 },
    says: /left as they are: seed/,
  },
  "a sign with a dead zone on the power 3/2": {
    make: (h) => plain((g) => where(g.abs().pow(1.5).gt(h.dead!), g.sign(), 0).mul(-h.lr!)),
    hyper: { lr, dead: 0.1 },
    powers: { lr: 1, dead: -1.5 },
  },
  "three thresholds on the gradient, each of another power": {
    make: (h) =>
      plain((g) => {
        const size = g.abs();
        const level = where(size.gt(h.low!), zerosLike(g).add(1), 0);
        const more = where(size.square().gt(h.middle!), level.add(1), level);
        return where(size.sqrt().gt(h.high!), more.add(2), more).mul(g.sign()).mul(-h.lr!);
      }),
    hyper: { lr, low: 0.1, middle: 0.4, high: 1.2 },
    powers: { lr: 1, low: -1, middle: -2, high: -0.5 },
  },
  "four thresholds, one beside the parameter, one the product": {
    make: (h) =>
      plain((g, p) => {
        const near = where(p.abs().gt(h.far!), zerosLike(g).add(1), 2);
        const aligned = where(g.mul(p).gt(h.product!), near, near.mul(3));
        return where(g.abs().gt(h.low!), aligned, where(g.abs().gt(h.least!), aligned.mul(0.5), 0))
          .mul(g.sign())
          .mul(-h.lr!);
      }),
    hyper: { lr, far: 0.5, product: 0.1, low: 0.5, least: 0.1 },
    powers: { lr: 1, far: 1, product: 0, low: -1, least: -1 },
  },
  "a momentum in eight bits": {
    make: (h) =>
      each(
        (p) => ({ codes: zerosLike(p), scale: zerosLike(p.sum()) }),
        (g, _, s) => {
          const m = average(s.codes!.mul(s.scale!), g, 0.9);
          const scale = m.abs().amax().div(127);
          const codes = where(scale.gt(0), m.div(where(scale.gt(0), scale, 1)).round(), 0);
          return [codes.mul(scale).mul(-h.lr!), { codes, scale }];
        },
      ),
    hyper: { lr },
    powers: { lr: 2 },
    state: { "own.codes": 0, "own.scale": -1 },
  },
  "a momentum in integers, as int32": {
    make: (h) =>
      each(
        (p) => ({ codes: zerosLike(p).astype("int32"), scale: zerosLike(p.sum()) }),
        (g, _, s) => {
          const m = average(s.codes!.astype("float64").mul(s.scale as Tensor<"float64">), g, 0.9);
          const scale = m.abs().amax().div(127);
          const codes = where(scale.gt(0), m.div(where(scale.gt(0), scale, 1)).round(), 0);
          return [codes.mul(scale).mul(-h.lr!), { codes: codes.astype("int32"), scale }];
        },
      ),
    hyper: { lr },
    powers: { lr: 2 },
    state: { "own.scale": -1 },
  },
  "a momentum whose scale is a power of two": {
    make: (h) =>
      each(zeros("m"), (g, _, s) => {
        const m = average(s.m!, g, 0.9);
        const top = m.abs().amax();
        const grid = zerosLike(top)
          .add(2)
          .pow(where(top.gt(0), top, 1).log().div(Math.LN2).floor())
          .div(16);
        const rounded = m.div(grid).round().mul(grid);
        return [rounded.mul(-h.lr!), { m: rounded }];
      }),
    hyper: { lr },
    powers: { lr: 2 },
    state: { "own.m": -1 },
    says: /needs a c that is a power of two/,
  },
  "AdamW with its state in float32": {
    make: (h) =>
      each(
        (p) => ({ m: zerosLike(p).astype("float32"), v: zerosLike(p).astype("float32") }),
        (g, p, s) => {
          const wide = { m: s.m!.astype("float64"), v: s.v!.astype("float64") };
          const [u, { m, v }] = adam(g, wide, h.eps!);
          return [
            u.mul(-h.lr!).sub(p.mul(h.lr! * h.wd!)),
            { m: m!.astype("float32"), v: v!.astype("float32") },
          ];
        },
      ),
    hyper: { lr, eps: 1e-8, wd: 0.1 },
    powers: { lr: 1, eps: -1, wd: -1 },
    state: moments,
    says: /of float32 leaves its range/,
  },
  "computed in float32 altogether": {
    make: (h) =>
      each(
        (p) => ({ m: zerosLike(p).astype("float32") }),
        (g, _, s) => {
          const m = s.m!.mul(scalar(h.beta!)).add(g.astype("float32"));
          return [m.mul(scalar(-h.lr!)).astype("float64"), { m }];
        },
      ),
    hyper: { lr, beta: 0.9 },
    powers: { lr: 2, beta: 0 },
    state: { "own.m": -1 },
  },
  "a list of past gradients that grows": {
    make: (h) => ({
      ...optim.sgd({ lr }),
      name: "listing",
      init: () => ({ step: scalar(0), history: [] }),
      update<P>(gradients: P, state: optim.OptimizerState, _: P): [P, optim.OptimizerState] {
        const history = [...(state.history as P[]), gradients].slice(-20);
        const sum = tree.zip(history as [P, ...P[]], (all) => all.reduce((a, b) => a.add(b)));
        const updates = tree.map(sum, (x) => x.mul(-h.lr!));
        return [updates, { step: state.step.add(1), history }];
      },
    }),
    hyper: { lr },
    powers: { lr: 2 },
    state: { "history.*": -1 },
  },
  "a state that appears in the first update": {
    make: (h) => ({
      ...optim.sgd({ lr }),
      name: "late",
      init: () => ({ step: scalar(0) }),
      update<P>(gradients: P, state: optim.OptimizerState, _: P): [P, optim.OptimizerState] {
        const m = state.m ? tree.zip([state.m as P, gradients], ([m, g]) => average(m!, g!, 0.9)) : gradients;
        return [tree.map(m, (x) => x.sign().mul(-h.lr!)), { step: state.step.add(1), m }];
      },
    }),
    hyper: { lr },
    powers: { lr: 1 },
    state: { m: -1 },
  },
  "hyperparameters inside others": {
    make: (h) => {
      const { adam: inner, decay } = h as unknown as { adam: { lr: number; eps: number }; decay: number };
      return optim.adamw({ ...inner, weightDecay: decay });
    },
    hyper: { adam: { lr, eps: 1e-8 }, decay: 0.1, name: "inner" },
    powers: { "adam.lr": 1, "adam.eps": -1, decay: -1 },
    says: /left as they are: name \(inner, no number\)/,
  },
  "a bound that must stay below 1": {
    make: (h) => {
      if (!(h.floor! > 0 && h.floor! < 1)) throw new Error(`floor is ${h.floor}, not in (0, 1)`);
      return plain((g) => g.div(g.abs().maximum(h.floor!)).mul(-h.lr!));
    },
    hyper: { lr, floor: 0.01 },
    powers: { lr: 1, floor: -1 },
    says: /floor is .* not in \(0, 1\)/,
  },
  "a rate that must be whole": {
    make: ({ lr }) => {
      if (!Number.isInteger(lr)) throw new TypeError("lr is a whole number of hundredths");
      return each(none, (g) => [g.mul(-lr! / 100), {}]);
    },
    hyper: { lr: 3 },
    none: true,
    says: /with lr as it is, no powers of c make it follow/,
  },
  "a whole number of updates between steps": {
    make: (h) => {
      if (!Number.isInteger(h.every!)) throw new Error(`every is ${h.every}, no integer`);
      return optim.accumulate(optim.sgd({ lr: h.lr! }), h.every!);
    },
    hyper: { lr, every: 3 },
    powers: { lr: 2 },
    says: /left as they are: every/,
  },
  "AdaGrad of the norm": {
    make: (h) =>
      each(
        (p) => ({ b: zerosLike(p.sum()).add(h.b0! ** 2) }),
        (g, _, s) => {
          const b = s.b!.add(g.square().sum());
          return [g.div(b.sqrt()).mul(-h.lr!), { b }];
        },
      ),
    hyper: { lr, b0: 0.1 },
    powers: { lr: 1, b0: -1 },
    state: { "own.b": -2 },
  },
  "Adan: differences of gradients": {
    make: (h) =>
      each(zeros("m", "d", "n", "last"), (g, p, s, t) => {
        const difference = where(t.gt(1), g.sub(s.last!), 0);
        const [m, d] = [average(s.m!, g, 0.98), average(s.d!, difference, 0.92)];
        const n = average(s.n!, g.add(difference.mul(0.92)).square(), 0.99);
        const u = m.add(d.mul(0.92)).div(n.sqrt().add(h.eps!)).mul(h.lr!);
        return [
          p
            .sub(u)
            .div(1 + h.lr! * h.wd!)
            .sub(p),
          { m, d, n, last: g },
        ];
      }),
    hyper: { lr, eps: 1e-8, wd: 0.02 },
    powers: { lr: 1, eps: -1, wd: -1 },
    state: { "own.m": -1, "own.d": -1, "own.n": -2, "own.last": -1 },
  },
  NovoGrad: {
    make: (h) =>
      each(
        (p) => ({ m: zerosLike(p), v: zerosLike(p.sum()) }),
        (g, p, s) => {
          const v = average(s.v!, g.square().sum(), 0.9);
          const m = s.m!.mul(0.9).add(g.div(v.sqrt().add(h.eps!)).add(p.mul(h.wd!)));
          return [m.mul(-h.lr!), { m, v }];
        },
      ),
    hyper: { lr, eps: 1e-8, wd: 0.01 },
    powers: { lr: 1, eps: -1, wd: -1 },
    state: { "own.m": 0, "own.v": -2 },
  },
  "steps of the size of the parameter (Tiger)": {
    make: (h) =>
      each(zeros("m"), (g, p, s) => {
        const m = average(s.m!, g, 0.9);
        return [m.sign().mul(rms(p)).mul(-h.lr!), { m }];
      }),
    hyper: { lr },
    powers: { lr: 0 },
  },
  PowerSign: {
    make: (h) =>
      each(zeros("m"), (g, _, s) => {
        const m = average(s.m!, g, 0.9);
        return [g.mul(g.sign().mul(m.sign()).mul(h.strength!).exp()).mul(-h.lr!), { m }];
      }),
    hyper: { lr, strength: 0.7 },
    powers: { lr: 2, strength: 0 },
  },
  "logarithms of gradients": {
    make: (h) => plain((g) => g.sign().mul(g.abs().div(h.tau!).log1p()).mul(-h.lr!)),
    hyper: { lr, tau: 0.1 },
    powers: { lr: 1, tau: -1 },
  },
  "Frank and Wolfe in a ball": {
    make: (h) => plain((g, p) => g.div(norm(g)).mul(-h.radius!).sub(p).mul(h.lr!)),
    hyper: { lr, radius: 3 },
    powers: { lr: 0, radius: 1 },
  },
  "weights kept within a bound": {
    make: (h) => plain((g, p) => p.sub(g.mul(h.lr!)).clamp(-h.bound!, h.bound!).sub(p)),
    hyper: { lr, bound: 1.5 },
    powers: { lr: 2, bound: 1 },
  },
  "a cap of 1e12 on updates that is no hyperparameter": {
    make: (h) => plain((g) => g.mul(-h.lr!).clamp(-1e12, 1e12)),
    hyper: { lr },
    none: true,
  },
  "an eps of 1e-38 in a square": {
    make: (h) =>
      each(zeros("v"), (g, _, s) => {
        const v = average(s.v!, g.square(), 0.9).add(1e-38);
        return [g.div(v.sqrt()).mul(-h.lr!), { v }];
      }),
    hyper: { lr },
    none: true,
  },
  "a floor of 1e-20 for parameters": {
    make: (h) => plain((g, p) => g.sign().mul(p.abs().maximum(1e-20)).mul(-h.lr!)),
    hyper: { lr },
    none: true,
  },
  "a cap on the step counter": {
    make: (h) => plain((g, _, t) => g.mul(scalar(-h.lr!).div(t.minimum(1e4)))),
    hyper: { lr },
    powers: { lr: 2 },
  },
  "no eps, so that a gradient of 0 gives NaN": {
    make: (h) =>
      each(zeros("v"), (g, _, s) => {
        const v = average(s.v!, g.square(), 0.9);
        return [g.div(v.sqrt()).mul(-h.lr!), { v }];
      }),
    hyper: { lr },
    powers: { lr: 1 },
    says: /Not further than update 1 of gradients of all sizes, some zero/,
  },
  "a rate that descends too": {
    make: (h) =>
      each(
        (p) => ({ last: zerosLike(p), rate: zerosLike(p.sum()).add(h.lr!) }),
        (g, _, s) => {
          const rate = s.rate!.add(g.mul(s.last!).sum().mul(h.beta!));
          return [g.mul(rate).neg(), { last: g, rate }];
        },
      ),
    hyper: { lr: 0.01, beta: 1e-3 },
    powers: { lr: 2, beta: 4 },
    state: { "own.last": -1, "own.rate": 2 },
  },
  "sharpness-aware, up and down in turn": {
    make: (h) =>
      each(zeros("up"), (g, _, s, t) => {
        const odd = t.sub(t.div(2).floor().mul(2)).gt(0.5);
        const up = g.div(norm(g).add(h.eps!)).mul(h.rho!);
        return [where(odd, up, s.up!.neg().sub(g.mul(h.lr!))), { up: where(odd, up, 0) }];
      }),
    hyper: { lr, rho: 0.05, eps: 1e-12 },
    powers: { lr: 2, rho: 1, eps: -1 },
    state: { "own.up": 1 },
  },
  "ADOPT: yesterday's second moment, and a bound that grows": {
    make: (h) =>
      each(zeros("m", "v"), (g, _, s, t) => {
        const [first, bound] = [t.le(1), zerosLike(g).add(t.pow(0.25))];
        const u = g.div(s.v!.sqrt().maximum(h.eps!)).maximum(bound.neg()).minimum(bound);
        const m = where(first, s.m!, average(s.m!, u, 0.9));
        const v = where(first, g.square(), average(s.v!, g.square(), 0.99));
        return [where(first, 0, m.mul(-h.lr!)), { m, v }];
      }),
    hyper: { lr, eps: 1e-6 },
    powers: { lr: 1, eps: -1 },
    state: { "own.m": 0, "own.v": -2 },
  },
  "SM3: the largest of rows and columns": {
    make: (h) =>
      each(
        (p): Slots =>
          p.rank === 2
            ? {
                rows: zerosLike(p.mean([1], { keepdim: true })),
                columns: zerosLike(p.mean([0], { keepdim: true })),
              }
            : { v: zerosLike(p) },
        (g, p, s): readonly [Tensor, Slots] => {
          const v = (p.rank === 2 ? s.rows!.minimum(s.columns!) : s.v!).add(g.square());
          const next: Slots =
            p.rank === 2
              ? { rows: v.amax([1], { keepdim: true }), columns: v.amax([0], { keepdim: true }) }
              : { v };
          return [g.div(v.add(h.eps!).sqrt()).mul(-h.lr!), next];
        },
      ),
    hyper: { lr, eps: 1e-8 },
    powers: { lr: 1, eps: -2 },
  },
  "MARS: differences of gradients, cut at a norm of 1": {
    make: (h) =>
      each(zeros("m", "v", "last"), (g, _, s) => {
        const u = g.add(g.sub(s.last!).mul(9 * h.gamma!));
        const [way, next] = adam(u.div(norm(u).maximum(1)), s, h.eps!);
        return [way.mul(-h.lr!), { ...next, last: g }];
      }),
    hyper: { lr, gamma: 0.025, eps: 1e-6 },
    none: true,
  },
  "stochastic rounding from a key in the state": {
    make: (h) =>
      plain((g, p, t) => {
        const u = g.mul(-h.lr!).div(h.grid!);
        const draw = random.uniform(random.key(3).fold(t), p.shape).astype("float64");
        return u.add(draw).floor().mul(h.grid!);
      }),
    hyper: { lr, grid: 0.01 },
    powers: { lr: 2, grid: 1 },
  },
  "a seed drawn when it is made": {
    make: (h) => {
      const seed = Math.floor(Math.random() * 1000);
      return plain((g, _, t) =>
        g.add(random.normal(random.key(seed).fold(t), g.shape).astype("float64")).mul(-h.lr!),
      );
    },
    hyper: { lr },
    fault: "draws random numbers",
  },
  "clipped at a multiple of the mean size": {
    make: (h) =>
      plain((g) => {
        const most = g.abs().mean().mul(h.times!);
        return g.minimum(most).maximum(most.neg()).mul(-h.lr!);
      }),
    hyper: { lr, times: 1.5 },
    powers: { lr: 2, times: 0 },
  },
  "clipped by the norm of the parameter, which has a floor": {
    make: (h) =>
      plain((g, p) => {
        const most = norm(p).maximum(h.least!).mul(h.share!);
        return g.mul(most.div(norm(g)).minimum(1)).mul(-h.lr!);
      }),
    hyper: { lr, share: 0.3, least: 0.1 },
    powers: { lr: 2, share: -2, least: 1 },
  },
  "clipped by how unusual a norm is": {
    make: (h) =>
      each(
        (p) => ({ mean: zerosLike(p.sum()), square: zerosLike(p.sum()) }),
        (g, _, s, t) => {
          const size = norm(g);
          const [mean, square] = [average(s.mean!, size, 0.9), average(s.square!, size.square(), 0.9)];
          const most = mean.add(square.sub(mean.square()).maximum(0).sqrt().mul(h.z!));
          const factor = where(t.gt(3), most.div(size.maximum(most)), 1);
          return [g.mul(factor).mul(-h.lr!), { mean, square }];
        },
      ),
    hyper: { lr, z: 1.5 },
    powers: { lr: 2, z: 0 },
    state: { "own.mean": -1, "own.square": -2 },
  },
  "LAMB's trust of at most 10, which is a size of parameters": {
    make: (h) =>
      each(zeros("m", "v"), (g, p, s) => {
        const [u, next] = adam(g, s, h.eps!);
        return [u.mul(norm(p).minimum(10).div(norm(u))).mul(-h.lr!), next];
      }),
    hyper: { lr, eps: 1e-8 },
    none: true,
  },
  "Barzilai and Borwein after a first step": {
    make: (h) =>
      each(zeros("step", "last"), (g, _, s) => {
        const y = g.sub(s.last!);
        const turn = s.step!.mul(y).sum().abs();
        const rate = where(
          turn.gt(0),
          s
            .step!.square()
            .sum()
            .div(where(turn.gt(0), turn, 1)),
          h.lr!,
        );
        const step = g.mul(rate).neg();
        return [step, { step, last: g }];
      }),
    hyper: { lr: 0.01 },
    powers: { lr: 2 },
    state: { "own.step": 1, "own.last": -1 },
  },
  "AdaMod: rates of at most their average": {
    make: (h) =>
      each(zeros("m", "v", "rate"), (g, _, s) => {
        const [m, v] = [average(s.m!, g, 0.9), average(s.v!, g.square(), 0.99)];
        const due = zerosLike(g).add(h.lr!).div(v.sqrt().add(h.eps!));
        const rate = average(s.rate!, due, 0.9);
        return [m.mul(due.minimum(rate)).neg(), { m, v, rate }];
      }),
    hyper: { lr, eps: 1e-3 },
    powers: { lr: 1, eps: -1 },
    state: { ...moments, "own.rate": 2 },
  },
  "a velocity that starts anew every seven updates, at the full rate": {
    make: (h) =>
      each(zeros("m"), (g, _, s, t) => {
        const place = t.sub(1).sub(t.sub(1).div(7).floor().mul(7));
        const m = where(place.lt(0.5), g, s.m!.mul(h.mu!).add(g));
        const factor = place
          .mul(Math.PI / 7)
          .cos()
          .add(1)
          .div(2);
        return [m.mul(factor).mul(-h.lr!), { m }];
      }),
    hyper: { lr, mu: 0.9 },
    powers: { lr: 2, mu: 0 },
    state: { "own.m": -1 },
  },
  "updates left out where a norm is a multiple of the last one": {
    make: (h) =>
      each(
        (p) => ({ last: zerosLike(p.sum()) }),
        (g, _, s) => {
          const size = norm(g);
          const most = where(s.last!.gt(0), s.last!.mul(h.times!), size);
          return [where(size.gt(most), 0, g.mul(-h.lr!)), { last: size }];
        },
      ),
    hyper: { lr, times: 1.2 },
    powers: { lr: 2, times: 0 },
    state: { "own.last": -1 },
  },
  "an average that begins after three updates": {
    make: (h) => ({
      ...optim.sgd({ lr }),
      name: "waiting",
      init: () => ({ step: scalar(0), seen: [] }),
      update<P>(gradients: P, state: optim.OptimizerState, _: P): [P, optim.OptimizerState] {
        const seen = [...(state.seen as P[]), gradients].slice(-3);
        const m = state.m
          ? tree.zip([state.m as P, gradients], ([m, g]) => average(m!, g!, 0.9))
          : seen.length > 2
            ? gradients
            : undefined;
        const step = state.step.add(1);
        return [tree.map(m ?? gradients, (x) => x.mul(-h.lr!)), { step, seen, ...(m ? { m } : {}) }];
      },
    }),
    hyper: { lr },
    powers: { lr: 2 },
    state: { m: -1, "seen.*": -1 },
  },
  "an error in the seventh update": {
    make: (h) => ({
      ...optim.sgd({ lr }),
      name: "tired",
      init: () => ({ step: scalar(0), seen: [] }),
      update<P>(gradients: P, state: optim.OptimizerState, _: P): [P, optim.OptimizerState] {
        const seen = [...(state.seen as P[]), gradients];
        if (seen.length > 6) throw new RangeError("too many gradients");
        return [tree.map(gradients, (x) => x.mul(-h.lr!)), { step: state.step.add(1), seen }];
      },
    }),
    hyper: { lr },
    fault: "throws",
    says: /update 7 throws.*too many gradients/,
  },
  "a rate for weekends": {
    make: (h) =>
      plain((g) => g.mul(-h.lr! * (1 + (new Date().getDay() % 6 ? 0 : 1)) * (Date.now() > 1.81e12 ? 2 : 1))),
    hyper: { lr },
    fault: "depends on the time",
  },
  "a counter in the closure": {
    make: (h) => {
      let calls = 0;
      return plain((g) => g.mul(++calls % 4 === 0 ? 0 : -h.lr!));
    },
    hyper: { lr },
    fault: "is not a function of its inputs",
  },
};
