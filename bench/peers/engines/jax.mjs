// jax-js, in WebAssembly or on WebGPU. Functions own their arguments: `.ref` keeps one for later.
import { adam, scaling } from "../problems.mjs";

export const jax = (backend) => ({
  name: `jax-js ${backend}`,
  async open() {
    if (backend === "webgpu") await import("../webgpu.mjs");
    const { blockUntilReady, init, jit, lax, nn, numpy: np, valueAndGrad } = await import("@jax-js/jax");
    const found = await init(backend);
    if (!found.includes(backend))
      throw new Error(`init("${backend}") found ${found.join(", ") || "nothing"}`);
    const on = ({ shape, data }) => np.array(data, { shape, device: backend });
    const inputsOf = (inputs) =>
      blockUntilReady(Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, on(x)])));
    const refs = (tree) => Object.fromEntries(Object.entries(tree).map(([name, x]) => [name, x.ref]));
    const drop = (tree) => {
      for (const x of Object.values(tree)) x.dispose();
    };
    const data = (arrays) => Promise.all(arrays.map((x) => x.data()));

    const repeated = (f, args) => {
      const call = () => f(...args.map((x) => x.ref));
      return {
        answer: async () => data([call()]),
        async run() {
          const y = await blockUntilReady(call());
          y.dispose();
        },
      };
    };
    const { lr, beta1, beta2, eps } = adam;
    /** Adam on the named parameters of a loss; t enters by the two corrections. */
    const training = (loss, params, rest) => {
      const step = jit((p, m, v, rest, correct1, correct2) => {
        const [value, g] = valueAndGrad(loss)(refs(p), rest);
        value.dispose();
        const [nextP, nextM, nextV] = [{}, {}, {}];
        for (const name of Object.keys(p)) {
          nextM[name] = m[name].mul(beta1).add(g[name].ref.mul(1 - beta1));
          nextV[name] = v[name].mul(beta2).add(np.square(g[name]).mul(1 - beta2));
          const root = np.sqrt(nextV[name].ref.mul(correct2.ref)).add(eps);
          nextP[name] = p[name].sub(nextM[name].ref.mul(correct1.ref).mul(lr).div(root));
        }
        correct1.dispose();
        correct2.dispose();
        return [nextP, nextM, nextV];
      });
      const zeros = () =>
        Object.fromEntries(Object.entries(params).map(([name, x]) => [name, np.zerosLike(x.ref)]));
      let [p, m, v, t] = [refs(params), zeros(), zeros(), 0];
      const run = async () => {
        t++;
        const correction = (beta) => np.array([1 / (1 - beta ** t)], { device: backend }).reshape([]);
        [p, m, v] = step(p, m, v, refs(rest), correction(beta1), correction(beta2));
        await blockUntilReady([p, m, v]);
      };
      return {
        async answer() {
          await run();
          return data(Object.values(p).map((x) => x.ref));
        },
        run,
        close: () => [p, m, v].forEach(drop),
      };
    };
    const flip = (x) => np.matrixTranspose(x);
    const linear = (x, w) => np.matmul(x, w.transpose());
    const mse = (y, target) => np.mean(np.square(y.sub(target)));
    const gelu = (h) => h.ref.mul(0.5).mul(lax.erf(h.mul(Math.SQRT1_2)).add(1));

    const kinds = {
      matmul: ({ a, b }, { options: { transposeA, transposeB } }) =>
        repeated(
          jit((a, b) => np.matmul(transposeA ? flip(a) : a, transposeB ? flip(b) : b)),
          [a, b],
        ),
      chain: ({ x, y }) =>
        repeated(
          jit((x, y) => np.maximum(x.ref.mul(y).add(0.5), 0).mul(x)),
          [x, y],
        ),
      softmax: ({ x }) =>
        repeated(
          jit((x) => nn.softmax(x, -1)),
          [x],
        ),
      layerNorm: ({ x }) =>
        repeated(
          jit((x) => nn.standardize(x, -1, { epsilon: 1e-5 })),
          [x],
        ),
      sumRows: ({ x }) =>
        repeated(
          jit((x) => np.sum(x, 0)),
          [x],
        ),
      sumAll: ({ x }) => repeated(jit(np.sum), [x]),
      transpose: ({ x }) => repeated(jit(flip), [x]),
      loraStep: ({ A, B, W0, x, target }) =>
        training(
          (p, { W0, x, target }) =>
            mse(linear(x.ref, W0).add(linear(linear(x, p.A), p.B).mul(scaling)), target),
          { A, B },
          { W0, x, target },
        ),
      mlpStep: ({ W1, b1, W2, b2, x, target }) =>
        training(
          (p, { x, target }) => mse(linear(gelu(linear(x, p.W1).add(p.b1)), p.W2).add(p.b2), target),
          { W1, b1, W2, b2 },
          { x, target },
        ),
      tiny: ({ x, y }, { count }) =>
        repeated(
          (x, y) => {
            let sum = x;
            for (let i = 0; i < count; i++) sum = sum.add(y.ref);
            y.dispose();
            return sum;
          },
          [x, y],
        ),
    };
    return { prepare: async (problem) => kinds[problem.kind](await inputsOf(problem.inputs), problem) };
  },
});
