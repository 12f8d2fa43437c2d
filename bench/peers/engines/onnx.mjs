// ONNX Runtime on the processor: inference only. The models are written here, in ONNX's protocol buffers.

const varint = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
const number = (field, value) => [...varint(field * 8), ...varint(value)];
const bytes = (field, value) => [...varint(field * 8 + 2), ...varint(value.length), ...value];
const text = (field, value) => bytes(field, [...new TextEncoder().encode(value)]);

/** A model of one node, from float matrices to one float matrix. */
function model(operator, shapes, shape) {
  const valueInfo = (name, dims) => {
    const dimensions = dims.flatMap((length) => bytes(1, number(1, length)));
    const tensorType = [...number(1, 1), ...bytes(2, dimensions)]; // float32
    return [...text(1, name), ...bytes(2, bytes(1, tensorType))];
  };
  const names = shapes.map((_, i) => `x${i}`);
  const node = [...names.flatMap((name) => text(1, name)), ...text(2, "y"), ...text(4, operator)];
  const graph = [
    ...bytes(1, node),
    ...text(2, "graph"),
    ...names.flatMap((name, i) => bytes(11, valueInfo(name, shapes[i]))),
    ...bytes(12, valueInfo("y", shape)),
  ];
  return Uint8Array.from([...number(1, 8), ...bytes(7, graph), ...bytes(8, number(2, 13))]);
}

export const onnx = {
  name: "ONNX Runtime",
  async open() {
    const { InferenceSession, Tensor } = (await import("onnxruntime-node")).default;
    const operators = { matmul: "MatMul", softmax: "Softmax" };
    return {
      async prepare({ kind, inputs, shape, options }) {
        const operator = operators[kind];
        if (!operator || options?.transposeA || options?.transposeB) return undefined;
        const given = Object.values(inputs);
        const session = await InferenceSession.create(
          model(
            operator,
            given.map(({ shape }) => shape),
            shape,
          ),
        );
        const feeds = Object.fromEntries(
          given.map(({ shape, data }, i) => [`x${i}`, new Tensor("float32", data, shape)]),
        );
        return {
          answer: async () => [(await session.run(feeds)).y.data],
          run: async () => void (await session.run(feeds)),
        };
      },
    };
  },
};
