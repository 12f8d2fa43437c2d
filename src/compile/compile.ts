import { debug } from "../base/debug.ts";
import type { DeviceDType } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { runName } from "../graph/loop.ts";
import { elements, makeNode, type Node } from "../graph/node.ts";
import { storedBefore, untie, withoutOrder } from "./after.ts";
import { draftsOf } from "./assemble.ts";
import { withOrder } from "./draft.ts";
import { Expressions } from "./expr.ts";
import { fuse } from "./fuse.ts";
import { finish } from "./loops.ts";
import { deviceDType, Lowering } from "./lower.ts";
import { computeWide } from "./narrow.ts";
import { settleParts } from "./overwrite.ts";
import { planMemory } from "./plan.ts";
import { printProgram } from "./print.ts";
import type { Program, Scalar } from "./program.ts";
import { finishLoop, loopDraft, loopsOf, trimLoops } from "./repeat.ts";
import { rewrite } from "./rewrite.ts";
import { materialise } from "./schedule.ts";
import type { Target } from "./target.ts";
import type { Value, ValueId } from "./value.ts";
import { verify } from "./verify.ts";

export interface CompileOptions {
  readonly target: Target;
  /** How many leaves the canonical graph has: inputs of the program, read or not. */
  readonly inputs: readonly Node[];
  /** Indices of inputs whose buffers outputs may take over. */
  readonly donated: ReadonlySet<number>;
}

/**
 * From a canonical graph to a program: compute narrow floats in wider ones, rewrite, decide what is stored, lower each stored node to a kernel,
 * join kernels, give them loops, plan memory.
 */
export function compileGraph(roots: readonly Node[], { target, inputs, donated }: CompileOptions): Program {
  const {
    outputs,
    order,
    tokens,
    whole: awaited,
  } = untie(
    rewrite(computeWide(trimLoops(roots)), target)
      .map(withoutOrder)
      .map(ofItsOwn),
  );
  const kept = materialise(outputs, target, awaited);

  const values: Value[] = [];
  const stored = new Map<Node, ValueId>();
  const inputValue = new Map<number, ValueId>();
  const newValue = (dtype: DeviceDType, size: number): ValueId =>
    values.push({ id: values.length, dtype, size }) - 1;
  inputs.forEach((leaf, index) => {
    inputValue.set(index, newValue(deviceDType(leaf), elements(leaf)));
  });
  for (const node of order) {
    if (node.operation.kind === "input") stored.set(node, inputValue.get(node.operation.index)!);
    else if (kept.has(node)) stored.set(node, newValue(deviceDType(node), elements(node)));
  }
  // A root that is a leaf but no buffer, such as a constant, is stored by a kernel of its own.
  for (const root of outputs)
    if (!stored.has(root)) stored.set(root, newValue(deviceDType(root), elements(root)));

  const expressions = new Expressions();
  const scalars: Scalar[] = [];
  const scalarPlaces = new Map<string, number>();
  const scalarOf = (source: number, dtype: DeviceDType): number =>
    getOrInsert(scalarPlaces, `${source} ${dtype}`, () => scalars.push({ source, dtype }) - 1);
  const storedAs = (node: Node) => stored.get(node);
  const assembly = {
    lowering: new Lowering({ e: expressions, stored: storedAs, scalarOf, reach: target.reach }),
    maxBindings: target.maxBindings,
    stored: storedAs,
    another: (node: Node) => newValue(deviceDType(node), elements(node)),
  };
  // Runs that wait for different things are different ones.
  const loops = loopsOf(
    order.filter((node) => stored.has(node) && elements(node) > 0),
    (node) => `${runName(node)} after ${[...(tokens.get(node) ?? [])].map(({ id }) => id)}`,
  );
  const runs = new Map([...loops.values()].map((group) => [group[0]!, group]));
  const before = storedBefore({ order, tokens }, storedAs);
  const drafts = order
    .filter((node) => stored.has(node) && node.operation.kind !== "input" && elements(node) > 0)
    .flatMap((node) => {
      if (node.operation.kind === "loop") {
        const group = runs.get(node);
        return group ? [withOrder(loopDraft(group, storedAs, expressions), before.get(node))] : [];
      }
      return draftsOf(node, stored.get(node)!, assembly).map((draft) => withOrder(draft, before.get(node)));
    });
  const results = outputs.map((root) => stored.get(root)!);
  const ins = inputs.map((_, index) => inputValue.get(index)!);
  const whole = {
    values,
    outputs: new Set(results),
    donated: new Set([...donated].map((index) => ins[index]!)),
  };
  const kernels = fuse(drafts, whole, target, expressions).map((d) =>
    d.core.kind === "loop"
      ? finishLoop(d, expressions, (body, leaves, over) =>
          compileGraph(body, { target, inputs: leaves, donated: over }),
        )
      : finish(d, expressions),
  );

  const settled = settleParts({ kernels, values, inputs: ins, outputs: results, donated }, expressions);
  const { donated: _, over, ...unplaced } = settled;
  const program: Program = { ...unplaced, ...planMemory(settled, target.maxBuffer), scalars };
  verify(program, over, target);
  debug("schedule", () => printProgram(program));
  return program;
}

/** An input that is handed back, or a result that is asked for twice, gets a buffer of its own. */
function ofItsOwn(root: Node, i: number, roots: readonly Node[]): Node {
  const taken = root.operation.kind === "input" || roots.indexOf(root) < i;
  return taken ? makeNode({ kind: "reshape" }, [root], root.shape, root.dtype) : root;
}
