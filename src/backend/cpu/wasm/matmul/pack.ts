import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { scalarOf } from "../scalar.ts";
import { type Phase, phaseTypes } from "../units.ts";
import { vectorOf } from "../vector.ts";
import { packRuns, packTurnedRuns } from "./runs.ts";
import { type Packing, packCost, panelGroup, type Schedule } from "./schedule.ts";
import { writePanels } from "./side-by-side.ts";
import { pieceOf, type Site, span, units, valuesIn, within } from "./site.ts";
import { type Panel, packTransposed } from "./transpose.ts";

const { add, mul } = i32;

export function definePack(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  g: Schedule,
  how: Packing,
): Phase {
  const { batch, inner, column, b } = kernel;
  const { pieces } = g;
  const groups = Math.ceil(pieces.panels / panelGroup);
  const panelBytes = inner.extent * g.columns * g.bytes;
  module.define("pack", phaseTypes, (code, { begin, end, args, shared: packed }) => {
    const site = { module, access: given.access(code, args) };
    units(code, begin, end, [batch.extent * pieces.count, groups], (body, [which, group]) => {
      const { matrix, own: columns } = pieceOf(body, which, kernel, g);
      const panel = add(mul(which, pieces.panels), mul(group, panelGroup));
      const into = body.let("i32", add(packed, mul(panel, panelBytes)));
      const [first, stop] = span(body, group, panelGroup * g.columns, columns);
      const own: Panel = {
        how,
        expr: b,
        batch: { name: batch.name, local: matrix },
        along: column,
        inner,
        first,
        width: g.columns,
        into,
        innerFirst: body.let("i32", 0),
        innerCount: inner.extent,
        bytes: g.bytes,
      };
      within(body, columns, first, () =>
        writePanels(body, site, own, stop, panelBytes, () => writePack(body, site, own)),
      );
    });
  });
  return {
    name: "pack",
    units: batch.extent * pieces.count * groups,
    round: pieces.round * groups,
    cost: packCost(kernel, g),
  };
}

/**
 * `into[k * width + lane] = expr(first + lane, innerFirst + k)`. What lies beyond the end of `along` repeats its
 * last element: those sums are never stored.
 */
export function writePack(code: Code, site: Site, p: Panel): void {
  const { how, width } = p;
  if (how.by === "turned") {
    packTransposed(code, site, p);
    return;
  }
  if (typeof how.by === "object") {
    const { runs, along } = how.by;
    const packed = along === p.inner.name ? packTurnedRuns : packRuns;
    packed(code, site, p, runs, (part) => writePack(code, site, { ...part, how: { ...how, by: "lanes" } }));
    return;
  }
  const [k, target] = [code.local("i32"), code.local("i32")];
  for (let lane = 0; lane < width; ) {
    const lanes = how.by === "lanes" && width - lane >= 4 ? 4 : 1;
    packLanes(code, site, p, { lane, lanes, k, target });
    lane += lanes;
  }
}

interface Lane {
  /** The first, and how many at once: four or one. */
  readonly lane: number;
  readonly lanes: number;
  readonly k: Local<"i32">;
  readonly target: Local<"i32">;
}

function packLanes(code: Code, site: Site, p: Panel, { lane, lanes, k, target }: Lane): void {
  const { expr, batch, along, inner, width, bytes } = p;
  const vector = { variable: along.name, extent: along.extent, exact: along.extent % width === 0 };
  const values = valuesIn(code, site, [batch, along, inner], {
    uses: [{ expr, at: 2 }],
    vector: lanes === 4 ? vector : undefined,
  });
  const stored = lanes === 4 ? vectorOf(values, expr) : scalarOf(values, expr);
  const store = lanes === 4 ? "v128.store" : bytes === 4 ? "f32.store" : "f64.store";
  const body = values.piece(2).store(store, target, bytes * lane, stored);
  code.assign(values.variable(batch.name), batch.local);
  const at = values.variable(along.name);
  code.assign(at, add(p.first, lane));
  // Vectors beyond the end start at the last element: their lanes are clamped, or read what is never used.
  code.if(i32.ge(at, along.extent), () => code.assign(at, along.extent - 1));
  code.append(values.piece(0));
  code.append(values.piece(1));
  code.assign(target, p.into);
  code.each(k, 0, p.innerCount, 1, () => {
    code.assign(values.variable(inner.name), add(p.innerFirst, k));
    code.append(body);
    code.advance(target, width * bytes);
  });
}
