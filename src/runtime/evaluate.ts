import {
  bytesPerElement,
  computeDType,
  decode,
  encode,
  type HostArray,
  type StoredArray,
} from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { canonicalise } from "../compile/canonical.ts";
import { compileGraph } from "../compile/compile.ts";
import { checkHeld } from "../graph/cast.ts";
import { evaluateHost, toHostArray } from "../graph/evaluate.ts";
import { isHost, isView, type Node, nextPeriod, settle, topological } from "../graph/node.ts";
import type { Device, Loaded } from "./device.ts";
import { Hold } from "./hold.ts";
import { boundsOn } from "./indices.ts";
import { defaultDevice } from "./init.ts";
import { neededAgain } from "./keep.ts";
import { storageOf, TensorStorage } from "./storage.ts";
import { dependOnArguments } from "./tracing.ts";

/** Computes nodes together, as one program, with what will be needed again on the way, and settles them. */
export async function evaluateNodes(nodes: readonly Node[], on?: Device): Promise<void> {
  const asked: Node[] = [];
  for (const node of new Set(nodes)) {
    if (isHost(node)) {
      checkTraced([node]);
      settleNumber(node);
    } else if (node.operation.kind !== "buffer") asked.push(node);
  }
  if (asked.length === 0) return;
  const order = topological(asked, (node) => !isHost(node));
  const wanted = [...asked, ...neededAgain(asked, order)]; // what is needed again is in that order too
  let canonical = canonicalise(wanted, true, order);
  checkTraced([...canonical.leaves, ...canonical.scalars]);
  nextPeriod();
  const storages = canonical.leaves.map(storageOf);
  if (storages.some((storage) => storage.isClosed)) checkUses(order);
  const device = on ?? storages.find((storage) => storage.device)?.device ?? defaultDevice();
  const bounds = boundsOn(device, wanted);
  const all = [...wanted, ...bounds.nodes];
  if (all.length > wanted.length) canonical = canonicalise(all, true); // its leaves are the same
  const scalars = canonical.scalars.map((node) => evaluateHost(node)); // others may settle them during what is awaited
  const loaded = await device.load(canonical.key, () =>
    compileGraph(canonical.build(), {
      target: device.backend.target,
      inputs: canonical.leaves,
      donated: new Set(),
    }),
  );
  const inputs = loaded.program.inputs.map((_, i) => storages[i]!.on(device));
  checkNumbers(loaded, scalars);
  const outputs = newStorages(all, device);
  device.run(loaded, { inputs, outputs: outputs.map((storage) => storage.on(device)), scalars });
  await bounds.check(outputs.slice(wanted.length));
  for (const { uses } of order) uses.computed = true;
  for (const node of canonical.scalars) if (node.dtype === "number") settleNumber(node);
  wanted.forEach((node, i) => {
    // Two evaluations at a time may come to one node.
    if (node.operation.kind === "buffer") outputs[i]!.dispose();
    else settle(node, { kind: "buffer", storage: outputs[i]! });
  });
  await device.settle();
}

/** @throws ValueError for what follows from arguments of a traced function. */
function checkTraced(nodes: readonly Node[]): void {
  if (!dependOnArguments(nodes)) return;
  throw new ValueError(
    "a tensor has no value: it was made while a compiled function was traced, and was kept outside. Return it from the function, and use what the call gives.",
  );
}

/** Checks the host numbers of a run: what a dtype does not hold is refused before anything is computed or given away. */
export function checkNumbers({ program }: Loaded, numbers: readonly number[]): void {
  for (const { source, dtype } of program.scalars)
    checkHeld(numbers[source]!, computeDType(dtype), "a host number"); // as `meet` does
}

/**
 * A number of the host forgets how it was made, so that one that is carried from step to step costs no more with each. What
 * the host knows of another dtype has a storage from then on, like every value that is asked for.
 */
function settleNumber(node: Node): void {
  if (node.dtype !== "number") {
    const values = encode(toHostArray(Float64Array.of(evaluateHost(node)), node), node.dtype);
    settle(node, { kind: "buffer", storage: new TensorStorage(node.dtype, 1, values) });
  } else if (node.operation.kind !== "constant")
    settle(node, { kind: "constant", value: evaluateHost(node), lifted: true });
}

/**
 * What was made of a tensor before it was given away has its values, what was made of it afterwards has none. A view
 * of a view is one of the tensor itself, so views may be of either kind.
 */
function checkUses(order: readonly Node[]): void {
  for (const node of order) {
    if (isView(node)) continue;
    for (const input of node.inputs) if (input.operation.kind === "buffer") storageOf(input).checkUse(node);
  }
}

/** The values of a node, computed if need be. */
export async function readNode(node: Node): Promise<HostArray> {
  return decode(await readStored(node), node.dtype);
}

/** The same as a device stores them: the bits of narrow floats, NaN too. */
export async function readStored(node: Node): Promise<StoredArray> {
  const hold = new Hold();
  hold.keep(node);
  try {
    await evaluateNodes([node]);
    if (node.operation.kind === "constant")
      return encode(toHostArray(Float64Array.of(node.operation.value), node), node.dtype);
    return await storageOf(node).readStored();
  } finally {
    hold.release();
  }
}

/** The values of a node, if they can be had without computing or waiting for anything. */
export function valuesAtHand(node: Node): HostArray | undefined {
  const { operation } = node;
  if (operation.kind === "constant") return toHostArray(Float64Array.of(operation.value), node);
  return operation.kind === "buffer" ? storageOf(node).atHand() : undefined;
}

/** Frees the values of a settled node; nothing happens where there are none. */
export function disposeNode(node: Node): void {
  if (node.operation.kind === "buffer") storageOf(node).dispose();
}

/** Storages with new buffers for all of these, or for none. */
export function newStorages(
  nodes: readonly Pick<Node, "shape" | "dtype">[],
  device: Device,
): TensorStorage[] {
  const made: TensorStorage[] = [];
  try {
    for (const { dtype, shape } of nodes) {
      const length = numel(shape);
      const buffer = device.allocate(length * bytesPerElement(dtype));
      made.push(new TensorStorage(dtype, length, { device, buffer }));
    }
    return made;
  } catch (error) {
    for (const storage of made) storage.dispose();
    throw error;
  }
}
