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
    const on = ({ shape, data }) => tf.tensor(data, shape);
    /** Waits for the device by reading one number. */
    const finish = async (x) => {
      const one = tf.tidy(() => tf.slice(tf.reshape(x, [-1]), [0], [1]));
      await one.data();
      one.dispose();
    };
    const repeated = (f, args) => ({
      async answer() {
        const y = tf.tidy(() => f(...args));
        return [await y.data()];
      },
      async run() {
        const y = tf.tidy(() => f(...args));
        await finish(y);
        y.dispose();
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

    const kinds = {
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
