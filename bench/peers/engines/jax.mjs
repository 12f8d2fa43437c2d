// jax-js, in WebAssembly or on WebGPU. Functions own their arguments: `.ref` keeps one for later.
import { adam, scaling } from "../problems.mjs";

export const jax = (backend) => ({
  name: `jax-js ${backend}`,
  async open() {
    if (backend === "webgpu") await import("../webgpu.mjs");
    const {
      blockUntilReady,
      grad,
      init,
      jit,
      lax,
      nn,
      numpy: np,
      valueAndGrad,
      vmap,
    } = await import("@jax-js/jax");
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

    /** Of one result or a list. */
    const repeated = (f, args) => {
      const call = () => [f(...args.map((x) => x.ref))].flat();
      return {
        answer: async () => data(call()),
        async run() {
          for (const y of await blockUntilReady(call())) y.dispose();
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

    /** Mean cross entropy of a GPT; each parameter is read once, so none needs a reference more. */
    const gpt = (p, { tokens, targets }, { vocabulary, layers, heads }) => {
      const dense = (x, name) => {
        const y = linear(x, p[`${name}.weight`]);
        const bias = p[`${name}.bias`];
        return bias ? y.add(bias) : y;
      };
      const norm = (x, name) =>
        nn.standardize(x, -1, { epsilon: 1e-5 }).mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
      const [batch, context] = tokens.shape;
      const split = (x) => x.reshape([batch, context, heads, x.shape.at(-1) / heads]).transpose([0, 2, 1, 3]);
      // Not nn.dotProductAttention: its einsum calls for Node 22.
      const attention = (q, k, v) => {
        const past = np.tri(context, context).reshape([1, 1, context, context]);
        const scores = np.matmul(q, flip(k)).mul(v.shape.at(-1) ** -0.5);
        return np.matmul(nn.softmax(np.where(past.greater(0), scores, -1e30), -1), v);
      };
      let x = np.take(p["embedding.weight"], tokens, 0).add(p["positions.weight"]);
      for (let i = 0; i < layers; i++) {
        const before = norm(x.ref, `block${i}.norm1`);
        const [q, k] = ["q", "k"].map((name) => split(dense(before.ref, `block${i}.${name}`)));
        const v = split(dense(before, `block${i}.v`));
        const attended = attention(q, k, v).transpose([0, 2, 1, 3]).reshape(x.shape);
        x = x.add(dense(attended, `block${i}.out`));
        const hidden = dense(norm(x.ref, `block${i}.norm2`), `block${i}.mlp.fc1`);
        x = x.add(dense(gelu(hidden), `block${i}.mlp.fc2`));
      }
      const chances = nn.logSoftmax(dense(norm(x, "norm"), "output"), -1);
      return np.mean(chances.mul(nn.oneHot(targets, vocabulary)).sum(-1)).neg();
    };

    const conv = (x, w, { stride = 1, padding }) =>
      lax.convGeneralDilated(
        x,
        w,
        [stride, stride],
        [
          [padding, padding],
          [padding, padding],
        ],
      );
    /** There is no scan: the steps are written out. */
    const gruLoss = (Wx, Wh, bx, bh, x) => {
      const [steps, batch] = x.shape;
      const hidden = Wh.shape[1];
      const gates = linear(x.reshape([steps * batch, -1]), Wx)
        .add(bx)
        .reshape([steps, batch, 3 * hidden]);
      const part = (all, i) => all.slice([], [i * hidden, (i + 1) * hidden]);
      let h = np.zeros([batch, hidden], { device: backend });
      const states = [];
      for (let t = 0; t < steps; t++) {
        const a = gates.ref.slice(t);
        const b = linear(h.ref, Wh.ref).add(bh.ref);
        const r = nn.sigmoid(part(a.ref, 0).add(part(b.ref, 0)));
        const z = nn.sigmoid(part(a.ref, 1).add(part(b.ref, 1)));
        const n = np.tanh(part(a, 2).add(r.mul(part(b, 2))));
        h = n.ref.add(z.mul(h.sub(n)));
        states.push(h.ref);
      }
      for (const left of [gates, Wh, bh, h]) left.dispose();
      return np.mean(np.square(np.stack(states)));
    };

    const kinds = {
      convolution: ({ x, w }, { options }) =>
        repeated(
          jit((x, w) => conv(x, w, options)),
          [x, w],
        ),
      convolutionGradients: ({ x, w }, { options }) =>
        repeated(
          jit(
            grad(
              (x, w) =>
                np
                  .square(conv(x, w, options))
                  .sum()
                  .mul(0.5),
              { argnums: [0, 1] },
            ),
          ),
          [x, w],
        ),
      sort: ({ x }) =>
        repeated(
          jit((x) => np.sort(x, -1)),
          [x],
        ),
      topk: ({ x }, { count }) =>
        repeated(
          jit((x) => {
            const [values, indices] = lax.topK(x, count);
            indices.dispose();
            return values;
          }),
          [x],
        ),
      einsum: ({ a, b, c }, { options }) =>
        repeated(
          jit((a, b, c) => np.einsum(options.formula, a, b, c)),
          [a, b, c],
        ),
      svd: ({ a }) =>
        repeated(
          jit((a) => {
            const [u, s, vh] = np.linalg.svd(a);
            return [u, s, flip(vh)];
          }),
          [a],
        ),
      perSample: ({ x, target, W1, b1, W2, b2 }) => {
        const loss = (W1, b1, W2, b2, x, target) => {
          const h = np.tanh(np.matmul(W1, x).add(b1));
          return np.mean(np.square(np.matmul(W2, h).add(b2).sub(target)));
        };
        const all = vmap(grad(loss, { argnums: [0, 1, 2, 3] }), [null, null, null, null, 0, 0]);
        return repeated(jit(all), [W1, b1, W2, b2, x, target]);
      },
      gru: ({ x, Wx, Wh, bx, bh }) =>
        repeated(jit(grad(gruLoss, { argnums: [0, 1, 2, 3] })), [Wx, Wh, bx, bh, x]),
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
      gptStep: ({ tokens, targets, ...params }, { options }) =>
        training((p, rest) => gpt(p, rest, options), params, { tokens, targets }),
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
