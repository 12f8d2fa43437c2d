import type { MatmulKernel } from "../../../../compile/kernel.ts";
import { placesOfWindow } from "../../../../compile/windows.ts";
import type { Arguments } from "../arguments.ts";
import type { Module } from "../assemble.ts";
import { i32, v128 } from "../expressions.ts";
import { tileRows } from "../matmul/schedule.ts";
import { units, valuesIn } from "../matmul/site.ts";
import { type Phase, phaseTypes } from "../units.ts";
import { vectorOf } from "../vector.ts";
import { type Winograd, weightPlane } from "./schedule.ts";
import { transformWeight } from "./transforms.ts";

const { add, mul } = i32;

/** Transforms all weights, four rows as lanes: a plane is tiles of four rows, in which the channels follow each other. */
export function defineWeights(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  { windows }: Winograd,
): Phase {
  const { batch, row, inner, a } = kernel;
  const { channels } = windows;
  const plane = weightPlane(row.extent, channels);
  module.define("weights", phaseTypes, (code, { begin, end, args, shared, scratch }) => {
    const site = { module, access: given.access(code, args) };
    const half = code.let("v128", v128.constant(new Float32Array(4).fill(0.5)));
    const tiles = Math.ceil(row.extent / tileRows);
    units(code, begin, end, [tiles], (body, [tile]) => {
      const [channel, place, at] = [body.local("i32"), body.local("i32"), body.local("i32")];
      const values = valuesIn(body, site, [batch, row, inner], {
        uses: [{ expr: a, at: 2 }],
        vector: { variable: row.name, extent: row.extent, exact: row.extent % tileRows === 0 },
      });
      const load = values.piece(2).store("v128.store", at, 0, vectorOf(values, a));
      const target = body.let("i32", add(shared, mul(tile, 16 * channels)));
      body.assign(values.variable(row.name), mul(tile, tileRows));
      body.append(values.piece(0), values.piece(1));
      body.each(channel, 0, channels, 1, () => {
        body.assign(at, scratch);
        body.each(place, 0, placesOfWindow, 1, () => {
          body.assign(values.variable(inner.name), add(mul(channel, placesOfWindow), place));
          body.append(load).advance(at, 16);
        });
        transformWeight(body, scratch, half, (i, value) =>
          body.store("v128.store", target, i * plane, value),
        );
        body.advance(target, 16);
      });
    });
  });
  return { name: "weights", units: Math.ceil(row.extent / tileRows), cost: channels * 100 };
}
