import { strideIn } from "../../../compile/access.ts";
import type { ScanKernel, ScatterKernel, Store } from "../../../compile/kernel.ts";
import { fitsLanes } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { type Phase, phaseTypes } from "./grid.ts";
import { defineLoop } from "./loop.ts";
import { valueType } from "./operations.ts";
import { storeName } from "./stores.ts";
import { Values } from "./values.ts";

// Kernels whose lanes (all axes but one) are independent and whose other axis runs in order.

/** Runs `body` for lanes from `begin` to `end`, `step` at a time. */
function eachLane(code: Code, lane: Local, begin: Local, end: Local, step: number, body: () => void): void {
  const unit = code.local("i32");
  code.get(begin).set(unit);
  code.loop((again) => {
    code.get(unit);
    if (step > 1) code.i32(step).op("i32.mul");
    code.set(lane);
    body();
    code.get(unit).i32(1).op("i32.add").tee(unit).get(end).op("i32.lt_u");
    again("if");
  });
}

/** Running sums; of float32 in float64, rounded when stored. */
export function defineScan(module: Module, kernel: ScanKernel, given: Arguments): Phase {
  const { lane, position, expr, dtype } = kernel;
  const [{ value, index }] = kernel.stores;
  module.define("scan", phaseTypes, (code, { begin, end, args }) => {
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots: [expr, index],
      levels: new Map([
        [lane.name, 1],
        [position.name, 2],
      ]),
      ...given.access(start, args),
    });
    const type = dtype === "float32" ? "f64" : valueType(dtype);
    const sum = code.local(type);
    const body = values.piece(2);
    body.get(sum);
    values.scalar(expr, body, 2);
    if (dtype === "float32") body.op("f64.promote_f32");
    body.op(`${type}.add`).set(sum);
    const { base, offset } = values.address(value, index, dtype, 2);
    base(body);
    body.get(sum);
    if (dtype === "float32") body.op("f32.demote_f64");
    body.memory(storeName(dtype), offset);
    code.append(start);
    code.append(values.piece(0));
    const p = values.variable(position.name);
    eachLane(code, values.variable(lane.name), begin, end, 1, () => {
      code.append(values.piece(1));
      if (type === "f64") code.f64(0);
      else code.i32(0);
      code.set(sum).i32(0).set(p);
      code.repeat(p, position.extent, 1, () => code.append(body));
    });
  });
  return { name: "scan", units: lane.extent, cost: position.extent * 3 + 5 };
}

/** First the copy of the initial values, then the sources one after the other, four lanes at once where they lie side by side. */
export function defineScatter(module: Module, kernel: ScatterKernel, given: Arguments): Phase[] {
  const { lane, position, source, initial, target, addend, dtype } = kernel;
  const [{ value, index }] = kernel.stores;
  const store: Store = { value, index, expr: initial };
  // The axis that is contiguous in the result goes inside.
  const inside = strideIn(index, lane.name) === 1 ? [position, lane] : [lane, position];
  const loop = { grid: inside, inner: [], accumulators: [], stores: [store] };
  const copy = defineLoop(module, "copy", loop, given).phases;
  if (source.extent === 0) return [...copy];
  const vector =
    dtype === "float32" &&
    lane.extent % 4 === 0 &&
    strideIn(index, lane.name) === 1 &&
    strideIn(target, lane.name) === 0 &&
    fitsLanes([addend]);
  const step = vector ? 4 : 1;
  module.define("add", phaseTypes, (code, { begin, end, args }) => {
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots: [target, addend, index],
      levels: new Map([
        [lane.name, 1],
        [source.name, 2],
        [position.name, 3],
      ]),
      vector: vector ? { name: lane.name, extent: lane.extent, exact: true } : undefined,
      ...given.access(start, args),
    });
    const at = values.variable(position.name);
    const aim = values.piece(2);
    values.scalar(target, aim, 2);
    aim.set(at);
    const body = values.piece(3);
    const type = vector ? "v128" : valueType(dtype);
    const held = code.local(type);
    if (vector) values.vector(addend, body, 3);
    else values.scalar(addend, body, 3);
    body.set(held);
    const address = code.local("i32");
    const { base, offset } = values.address(value, index, dtype, 3);
    base(body);
    body.tee(address).get(address).memory(`${type}.load`, offset).get(held);
    body.op(type === "v128" ? "f32x4.add" : `${type}.add`);
    body.memory(vector ? "v128.store" : storeName(dtype), offset);
    code.append(start);
    code.append(values.piece(0));
    const s = values.variable(source.name);
    eachLane(code, values.variable(lane.name), begin, end, step, () => {
      code.append(values.piece(1));
      code.i32(0).set(s);
      code.repeat(s, source.extent, 1, () => {
        code.append(aim);
        code
          .get(at)
          .i32(position.extent)
          .op("i32.lt_u")
          .when(() => code.append(body));
      });
    });
  });
  return [...copy, { name: "add", units: lane.extent / step, cost: source.extent * 4 + 5 }];
}
