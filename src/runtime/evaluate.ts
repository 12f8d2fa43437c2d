import { bytesPerElement, type HostArray } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { canonicalise } from "../compile/canonical.ts";
import { compileGraph } from "../compile/compile.ts";
import { evaluateHost, toHostArray } from "../graph/evaluate.ts";
import { elements, isHost, type Node, settle } from "../graph/node.ts";
import type { Device } from "./device.ts";
import { defaultDevice } from "./init.ts";
import { storageOf, TensorStorage } from "./storage.ts";
import { dependOnArguments } from "./tracing.ts";

/** Computes nodes together, as one program, and settles them. */
export async function evaluateNodes(nodes: readonly Node[], on?: Device): Promise<void> {
  if (dependOnArguments(nodes)) {
    throw new ValueError(
      "a tensor has no value: it was made while a compiled function was traced, and was kept outside. Return it from the function, and use what the call gives.",
    );
  }
  const pending: Node[] = [];
  for (const node of new Set(nodes)) {
    if (node.operation.kind === "buffer" || node.operation.kind === "constant") continue;
    if (isHost(node)) settle(node, { kind: "constant", value: evaluateHost(node), lifted: true });
    else pending.push(node);
  }
  if (pending.length === 0) return;
  const canonical = canonicalise(pending, true);
  const storages = canonical.leaves.map(storageOf);
  const device = on ?? storages.find((storage) => storage.device)?.device ?? defaultDevice();
  const loaded = await device.load(canonical.key, () =>
    compileGraph(canonical.build(), {
      target: device.backend.target,
      inputs: canonical.leaves,
      donated: new Set(),
    }),
  );
  const inputs = loaded.program.inputs.map((_, i) => storages[i]!.on(device));
  const outputs = pending.map(
    (node) => new TensorStorage(node.dtype, elements(node), newBuffer(device, node)),
  );
  const scalars = canonical.scalars.map((node) => evaluateHost(node));
  device.run(
    loaded,
    inputs,
    outputs.map((storage) => storage.on(device)),
    scalars,
  );
  pending.forEach((node, i) => {
    settle(node, { kind: "buffer", storage: outputs[i]! });
  });
  await device.settle();
}

/** The values of a node, computed if need be. */
export async function readNode(node: Node): Promise<HostArray> {
  await evaluateNodes([node]);
  if (node.operation.kind === "constant") return toHostArray(Float64Array.of(node.operation.value), node);
  return storageOf(node).read();
}

/** Frees the values of a settled node; nothing happens where there are none. */
export function disposeNode(node: Node): void {
  if (node.operation.kind === "buffer") storageOf(node).dispose();
}

export function newBuffer(device: Device, node: Node) {
  return { device, buffer: device.allocate(elements(node) * bytesPerElement(node.dtype)) };
}
