// TensorFlow.js, in WebAssembly or on WebGPU.
import { adam, scaling } from "../problems.mjs";

export const tfjs = (backend) => ({
  name: `TensorFlow.js ${backend}`,
  async open() {
    if (backend === "webgpu") await import("../webgpu.mjs");
    const tf = (await import("@tensorflow/tfjs")).default;
    await import(`@tensorflow/tfjs-backend-${backend}`);
    // Small operations go to the processor otherwise.
    if (backend === "webgpu") tf.env().set("WEBGPU_CPU_FORWARD", false);
    const choose = async () => {
      if (!(await tf.setBackend(backend))) throw new Error(`setBackend("${backend}") failed`);
      await tf.ready();
    };
    await choose();
    const on = ({ shape, data }) => tf.tensor(data, shape, data instanceof Int32Array ? "int32" : "float32");
    /** Waits for the device by reading one number. */
    const finish = async (x) => {
      const one = tf.tidy(() => tf.slice(tf.reshape(x, [-1]), [0], [1]));
      await one.data();
      one.dispose();
    };
    /** Of one result or a list. @param shown What is compared, where that lies otherwise. */
    const repeated = (f, args, shown = (y) => y) => ({
      async answer() {
        const all = tf.tidy(() => [f(...args)].flat().map(shown));
        return Promise.all(all.map((y) => y.data()));
      },
      async run() {
        const all = tf.tidy(() => [f(...args)].flat());
        await finish(all.at(-1));
        for (const y of all) y.dispose();
      },
    });
    const training = (loss, params, rest) => {
      const variables = Object.values(params).map((x) => tf.variable(x));
      const optimizer = tf.train.adam(adam.lr, adam.beta1, adam.beta2, adam.eps);
      const run = async () => {
        optimizer.minimize(() => loss(...variables, ...rest), false, variables);
        await finish(variables.at(-1));
      };
      return {
        async answer() {
          await run();
          return Promise.all(variables.map((x) => x.data()));
        },
        run,
      };
    };
    const linear = (x, w) => tf.matMul(x, w, false, true);
    const mse = (y, target) => tf.mean(tf.square(tf.sub(y, target)));
    const gelu = (h) => tf.mul(tf.mul(h, 0.5), tf.add(tf.erf(tf.mul(h, Math.SQRT1_2)), 1));

    /** Mean cross entropy of a GPT. Rows are chosen by products, since WebAssembly has no gradient of gather. */
    const gpt = (p, tokens, targets, { vocabulary, layers, heads }) => {
      const [batch, context] = tokens.shape;
      const width = p["positions.weight"].shape[1];
      const dense = (x, name) => {
        const y = linear(x, p[`${name}.weight`]);
        const bias = p[`${name}.bias`];
        return bias ? tf.add(y, bias) : y;
      };
      const norm = (x, name) => {
        const { mean, variance } = tf.moments(x, -1, true);
        const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
        return tf.add(tf.mul(normal, p[`${name}.weight`]), p[`${name}.bias`]);
      };
      const split = (x) => tf.transpose(tf.reshape(x, [batch, context, heads, width / heads]), [0, 2, 1, 3]);
      const joined = (x) => tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch * context, width]);
      const future = tf.sub(1, tf.linalg.bandPart(tf.ones([context, context]), -1, 0)).mul(-1e30);
      // Not oneHot to float32, which is wrong in WebAssembly.
      const oneHot = (ids) => tf.cast(tf.oneHot(tf.reshape(ids, [-1]), vocabulary), "float32");
      const places = tf.tile(tf.eye(context), [batch, 1]);
      let x = tf.add(
        tf.matMul(oneHot(tokens), p["embedding.weight"]),
        tf.matMul(places, p["positions.weight"]),
      );
      for (let i = 0; i < layers; i++) {
        const before = norm(x, `block${i}.norm1`);
        const [q, k, v] = ["q", "k", "v"].map((name) => split(dense(before, `block${i}.${name}`)));
        const scores = tf.mul(tf.matMul(q, k, false, true), (width / heads) ** -0.5);
        const attended = tf.matMul(tf.softmax(tf.add(scores, future)), v);
        x = tf.add(x, dense(joined(attended), `block${i}.out`));
        const hidden = dense(norm(x, `block${i}.norm2`), `block${i}.mlp.fc1`);
        x = tf.add(x, dense(gelu(hidden), `block${i}.mlp.fc2`));
      }
      const chances = tf.logSoftmax(dense(norm(x, "norm"), "output"));
      return tf.neg(tf.mean(tf.sum(tf.mul(chances, oneHot(targets)), -1)));
    };

    const gradients = (f) => {
      const slopes = tf.grads(f);
      return (...args) => slopes(args);
    };
    // Channels come last, and of windows the outputs: given so, and turned back before answers are compared.
    const last = (x) => tf.transpose(x, [0, 2, 3, 1]);
    const first = (x) => tf.transpose(x, [0, 3, 1, 2]);
    const windowsLast = (w) => tf.transpose(w, [2, 3, 1, 0]);
    const windowsFirst = (w) => tf.transpose(w, [3, 2, 0, 1]);
    const gruLoss = (x) => (Wx, Wh, bx, bh) => {
      const steps = tf.unstack(x);
      const hidden = Wh.shape[1];
      let h = tf.zeros([x.shape[1], hidden]);
      const states = steps.map((row) => {
        const [a, b] = [tf.add(linear(row, Wx), bx), tf.add(linear(h, Wh), bh)].map((all) =>
          tf.split(all, 3, 1),
        );
        const [r, z] = [0, 1].map((i) => tf.sigmoid(tf.add(a[i], b[i])));
        const n = tf.tanh(tf.add(a[2], tf.mul(r, b[2])));
        h = tf.add(n, tf.mul(z, tf.sub(h, n)));
        return h;
      });
      return tf.mean(tf.square(tf.stack(states)));
    };

    const kinds = {
      convolution: ({ x, w }, { options: { stride = 1, padding } }) =>
        repeated((x, w) => tf.conv2d(x, w, stride, padding), [last(x), windowsLast(w)], first),
      convolutionGradients: ({ x, w }, { options: { stride = 1, padding } }) =>
        repeated(
          gradients((x, w) => tf.mul(tf.sum(tf.square(tf.conv2d(x, w, stride, padding))), 0.5)),
          [last(x), windowsLast(w)],
          (y) => (y.shape[0] === x.shape[0] && y.shape[1] === x.shape[2] ? first(y) : windowsFirst(y)),
        ),
      maxPool: ({ x }) => repeated((x) => tf.maxPool(x, 3, 2, 1), [last(x)], first),
      topk: ({ x }, { count }) => repeated((x) => tf.topk(x, count).values, [x]),
      gru: ({ x, Wx, Wh, bx, bh }) => repeated(gradients(gruLoss(x)), [Wx, Wh, bx, bh]),
      matmul: ({ a, b }, { options: { transposeA, transposeB } }) =>
        repeated((a, b) => tf.matMul(a, b, transposeA, transposeB), [a, b]),
      chain: ({ x, y }) => repeated((x, y) => tf.mul(tf.relu(tf.add(tf.mul(x, y), 0.5)), x), [x, y]),
      softmax: ({ x }) => repeated((x) => tf.softmax(x, -1), [x]),
      layerNorm: ({ x }) =>
        repeated(
          (x) => {
            const { mean, variance } = tf.moments(x, -1, true);
            return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
          },
          [x],
        ),
      sumRows: ({ x }) => repeated((x) => tf.sum(x, 0), [x]),
      sumAll: ({ x }) => repeated((x) => tf.sum(x), [x]),
      transpose: ({ x }) => repeated((x) => tf.transpose(x), [x]),
      loraStep: ({ A, B, W0, x, target }) =>
        training(
          (A, B, W0, x, target) =>
            mse(tf.add(linear(x, W0), tf.mul(linear(linear(x, A), B), scaling)), target),
          { A, B },
          [W0, x, target],
        ),
      mlpStep: ({ W1, b1, W2, b2, x, target }) =>
        training(
          (W1, b1, W2, b2, x, target) => mse(tf.add(linear(gelu(tf.add(linear(x, W1), b1)), W2), b2), target),
          { W1, b1, W2, b2 },
          [x, target],
        ),
      gptStep: ({ tokens, targets, ...params }, { options }) => {
        const names = Object.keys(params);
        const named = (variables) => Object.fromEntries(names.map((name, i) => [name, variables[i]]));
        return training((...args) => gpt(named(args), ...args.slice(names.length), options), params, [
          tokens,
          targets,
        ]);
      },
      tiny: ({ x, y }, { count }) =>
        repeated(
          (x, y) => {
            let sum = x;
            for (let i = 0; i < count; i++) sum = tf.add(sum, y);
            return sum;
          },
          [x, y],
        ),
    };
    return {
      choose,
      prepare: async ({ kind, inputs, ...problem }) =>
        kinds[kind](Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, on(x)])), problem),
    };
  },
});
