import { debug } from "../base/debug.ts";
import type { DeviceDType } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { loopsOf, runName } from "../graph/loop.ts";
import { elements, makeNode, type Node } from "../graph/node.ts";
import { storedBefore, type Untied, untie, withoutOrder } from "./after.ts";
import { type Assembly, draftsOf } from "./assemble.ts";
import { type Draft, withOrder } from "./draft.ts";
import { Expressions } from "./expr.ts";
import { fuse } from "./fuse.ts";
import { finish } from "./loops.ts";
import { deviceDType, Lowering } from "./lower.ts";
import { computeWide } from "./narrow.ts";
import { settleParts } from "./overwrite.ts";
import { planMemory } from "./plan.ts";
import { printProgram } from "./print.ts";
import type { Program, Scalar } from "./program.ts";
import { finishLoop, loopDraft, trimLoops } from "./repeat.ts";
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
  const wide = computeWide(trimLoops(roots));
  const untied = untie(rewrite(wide, target).map(withoutOrder).map(ofItsOwn));
  const { outputs, order } = untied;
  const kept = materialise(outputs, target, untied.whole);

  const values: Value[] = [];
  const valueFor = (node: Node): ValueId =>
    values.push({ id: values.length, dtype: deviceDType(node), size: elements(node) }) - 1;
  const ins = inputs.map(valueFor);
  const known = new Map<Node, ValueId>();
  for (const node of order) {
    if (node.operation.kind === "input") known.set(node, ins[node.operation.index]!);
    else if (kept.has(node)) known.set(node, valueFor(node));
  }
  // A root that is a leaf but no buffer, such as a constant, is stored by a kernel of its own.
  const results = outputs.map((root) => getOrInsert(known, root, () => valueFor(root)));

  const e = new Expressions();
  const scalars: Scalar[] = [];
  const scalarPlaces = new Map<string, number>();
  const scalarOf = (source: number, dtype: DeviceDType): number =>
    getOrInsert(scalarPlaces, `${source} ${dtype}`, () => scalars.push({ source, dtype }) - 1);
  const stored = (node: Node) => known.get(node);
  const lowering = new Lowering({ e, stored, scalarOf, reach: target.reach });
  const drafts = allDrafts(untied, { lowering, maxBindings: target.maxBindings, stored, another: valueFor });
  const whole = {
    values,
    outputs: new Set(results),
    donated: new Set([...donated].map((index) => ins[index]!)),
  };
  const kernels = fuse(drafts, whole, target, e).map((d) =>
    d.core.kind === "loop"
      ? finishLoop(d, e, (body, leaves, over) =>
          compileGraph(body, { target, inputs: leaves, donated: over }),
        )
      : finish(d, e),
  );

  const settled = settleParts({ kernels, values, inputs: ins, outputs: results, donated }, e);
  const { donated: _, over, ...unplaced } = settled;
  const program: Program = { ...unplaced, ...planMemory(settled, target.maxBuffer), scalars };
  verify(program, over, target);
  debug("schedule", () => printProgram(program));
  return program;
}

/** The kernels of all that is stored, makers before readers. */
function allDrafts(untied: Untied, assembly: Assembly): Draft[] {
  const { stored, lowering } = assembly;
  const made = untied.order.filter(
    (node) => stored(node) !== undefined && node.operation.kind !== "input" && elements(node) > 0,
  );
  // Runs that wait for different things are different ones.
  const loops = loopsOf(
    made,
    (node) => `${runName(node)} after ${[...(untied.tokens.get(node) ?? [])].map(({ id }) => id)}`,
  );
  const runs = new Map([...loops.values()].map((group) => [group[0]!, group]));
  const before = storedBefore(untied, stored);
  return made.flatMap((node) => {
    const group = runs.get(node);
    if (node.operation.kind === "loop" && !group) return []; // another result of a run
    const drafts = group ? [loopDraft(group, stored, lowering.e)] : draftsOf(node, stored(node)!, assembly);
    return drafts.map((draft) => withOrder(draft, before.get(node)));
  });
}

/** An input that is handed back, or a result that is asked for twice, gets a buffer of its own. */
function ofItsOwn(root: Node, i: number, roots: readonly Node[]): Node {
  const taken = root.operation.kind === "input" || roots.indexOf(root) < i;
  return taken ? makeNode({ kind: "reshape" }, [root], root.shape, root.dtype) : root;
}
