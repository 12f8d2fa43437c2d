// Lorantz: the functions of its own benchmarks, from the build in dist/.
import * as functions from "../../../dist/experiments/bench/functions.js";
import { compile, einsum, grad, init, linalg, sort, tensor, topk, tree, vmap } from "../../../dist/index.js";
import * as nn from "../../../dist/nn/index.js";

/** Parameters by path as a tree. */
function nested(params) {
  const root = {};
  for (const [path, x] of Object.entries(params)) {
    const names = path.split(".");
    const last = names.pop();
    names.reduce((node, name) => (node[name] ??= {}), root)[last] = x;
  }
  return root;
}

export const lorantz = (backend, compiled = true) => ({
  name: `Lorantz ${backend}${compiled ? "" : ", not compiled"}`,
  async open() {
    const device = await init({ backend });
    const on = ({ shape, data }) => tensor(data, { shape });
    const inputsOf = (inputs) =>
      tree.evaluate(Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, on(x)])), device);
    const data = (tensors) => Promise.all(tensors.map((x) => x.data()));

    /** A function, of one result or a list, called again and again on the same tensors. */
    const repeated = (f, args) => {
      const run = compiled ? compile(f, { device }) : async (...given) => tree.evaluate(f(...given), device);
      const results = async () => [await run(...args)].flat();
      return {
        answer: async () => data(await results()),
        async run() {
          const made = await results();
          await device.backend.finish();
          for (const y of made) y.dispose();
        },
      };
    };
    /** A training step: its results are the arguments of the next. */
    const training = (f, params, rest, order) => {
      const step = compile(f, { device, donate: [0] });
      let net = functions.trained(params);
      const run = async () => {
        const { loss, ...next } = await step(net, ...rest);
        loss.dispose();
        net = next;
        await device.backend.finish();
      };
      return {
        async answer() {
          await run();
          return data(order(net.params));
        },
        run,
      };
    };

    const kinds = {
      matmul: ({ a, b }, { options: { transposeA, transposeB } }) =>
        repeated(
          (a, b) => functions.matmul(transposeA ? a.transpose() : a, transposeB ? b.transpose() : b),
          [a, b],
        ),
      chain: ({ x, y }) => repeated(functions.chain, [x, y]),
      softmax: ({ x }) => repeated(functions.softmax, [x]),
      layerNorm: ({ x }) => repeated(functions.layerNorm, [x]),
      sumRows: ({ x }) => repeated((x) => x.sum(0), [x]),
      sumAll: ({ x }) => repeated((x) => x.sum(), [x]),
      transpose: ({ x }) => repeated((x) => x.transpose(), [x]),
      loraStep: ({ A, B, W0, x, target }) =>
        training(functions.loraStep, { loraA: A, loraB: B }, [W0, x, target], (p) => [p.loraA, p.loraB]),
      mlpStep: ({ W1, b1, W2, b2, x, target }) =>
        training(
          (net, x, target) => functions.mlpStep(net, [W1.shape[1], W1.shape[0], W2.shape[0]], x, target),
          { fc1: { weight: W1, bias: b1 }, fc2: { weight: W2, bias: b2 } },
          [x, target],
          ({ fc1, fc2 }) => [fc1.weight, fc1.bias, fc2.weight, fc2.bias],
        ),
      gptStep: ({ tokens, targets, ...params }, { options }) =>
        training(
          (net, tokens, targets) => functions.gptStep(net, options, tokens, targets),
          nested(params),
          [tokens, targets],
          (p) => Object.keys(params).map((path) => path.split(".").reduce((node, name) => node[name], p)),
        ),
      tiny: ({ x, y }, { count }) => repeated((a, b) => functions.tinyAdds(a, b, count), [x, y]),
      convolution: ({ x, w }, { options }) =>
        repeated((x, w) => nn.functional.conv2d(x, w, undefined, options), [x, w]),
      convolutionGradients: ({ x, w }, { options }) =>
        repeated(
          grad((x, w) => nn.functional.conv2d(x, w, undefined, options).square().sum().div(2), {
            argnums: [0, 1],
          }),
          [x, w],
        ),
      maxPool: ({ x }) => repeated((x) => nn.functional.maxPool2d(x, 3, { stride: 2, padding: 1 }), [x]),
      sort: ({ x }) => repeated((x) => sort(x).values, [x]),
      topk: ({ x }, { count }) => repeated((x) => topk(x, count).values, [x]),
      einsum: ({ a, b, c }, { options }) =>
        repeated((a, b, c) => einsum(options.formula, a, b, c), [a, b, c]),
      svd: ({ a }) =>
        repeated(
          (a) => {
            const { u, s, v } = linalg.svd(a);
            return [u, s, v];
          },
          [a],
        ),
      perSample: ({ x, target, ...params }) => {
        const loss = ({ W1, b1, W2, b2 }, x, target) => {
          const h = nn.functional.linear(x, W1, b1).tanh();
          return nn.functional.linear(h, W2, b2).sub(target).square().mean();
        };
        const all = vmap(grad(loss), { in: [null, 0, 0] });
        return repeated((params, x, target) => Object.values(all(params, x, target)), [params, x, target]);
      },
      gru: ({ x, Wx, Wh, bx, bh }) => {
        const layer = nn.gru(Wx.shape[1], Wh.shape[1]);
        const loss = (params, x) => layer.apply(params, { x }).y.square().mean();
        const params = { weight_ih: Wx, weight_hh: Wh, bias_ih: bx, bias_hh: bh };
        const order = ({ weight_ih, weight_hh, bias_ih, bias_hh }) => [
          weight_ih,
          weight_hh,
          bias_ih,
          bias_hh,
        ];
        return repeated((params, x) => order(grad(loss)(params, x)), [params, x]);
      },
    };
    return {
      about: device.description,
      async prepare(problem) {
        if (!compiled && problem.kind !== "tiny") return undefined;
        return kinds[problem.kind](await inputsOf(problem.inputs), problem);
      },
      close: () => device.dispose(),
    };
  },
});
