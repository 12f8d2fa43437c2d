import type { Loop } from "../../compile/kernel.ts";
import { product } from "../../compile/nest.ts";
import { axisAs, type Step } from "../../compile/steps.ts";
import { type Body, digits, loop, perPoint } from "./dispatch.ts";
import { printQuadStores } from "./elements.ts";
import { turnedLoads } from "./quads.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { write } from "./text.ts";

// Transposes: elementwise work whose results lie side by side along one axis, and some of what it loads along another.
// An invocation has a block of four by four: it loads quads along the one axis, turns them in registers, and stores
// quads along the other.

/** A block for each invocation: lanes of one axis by copies of the other. */
export function printBlockMap(
  { grid, stores }: Loop,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
): Body {
  const axisOf = (as: "lanes" | "copies") => grid.find(({ name }) => name === axisAs(steps, as)?.axis)!;
  const [along, across] = [axisOf("lanes"), axisOf("copies")];
  const loads = turnedLoads(stores, along, across);

  const indices = write(
    loads.map(({ index }) => ({ expr: index, at: 0 })),
    bindings,
  );
  const quads = loads.map(({ value, index }) => bindings.quad(value, indices.operand(index)));
  const { declarations, outer, body } = printQuadStores(
    stores,
    {
      variable: along.name,
      loaded: new Map(loads.map((load, n) => [load, `turned${n}[row]`])),
    },
    bindings,
  );
  const side = axisAs(steps, "blocks", along.name)?.by ?? 1;
  const [far, down] = [along.extent / 4 / side, across.extent / 4];
  const blocks = [
    ...grid.filter((axis) => axis !== along && axis !== across),
    { name: "far", extent: far },
    { name: "down", extent: down },
    { name: "near", extent: side },
  ];
  const start = (...names: readonly string[]) =>
    names.length === 0 ? "0" : names.length === 1 ? `${names[0]} * 4` : `(${names.join(" + ")}) * 4`;
  const right = far > 1 ? [side > 1 ? `far * ${side}` : "far"] : [];
  return {
    declarations,
    ...perPoint(product(blocks), options, [
      ...digits(blocks, "point"),
      `let top = ${down > 1 ? start("down") : "0"};`,
      `let left = ${start(...right, ...(side > 1 ? ["near"] : []))};`,
      ...loads.map(({ value }, n) => `var lines${n}: array<${bindings.vector(value)}, 4>;`),
      loop("column", 0, 4, 1),
      `let ${along.name} = left + column;`,
      `let ${across.name} = top;`,
      ...indices.statements(0),
      ...quads.map((quad, n) => `lines${n}[column] = ${quad};`),
      "}",
      ...loads.map(({ value }, n) => {
        const rows = [..."xyzw"].map(
          (place) =>
            `${bindings.vector(value)}(${[0, 1, 2, 3].map((i) => `lines${n}[${i}].${place}`).join(", ")})`,
        );
        return `var turned${n} = array<${bindings.vector(value)}, 4>(${rows.join(", ")});`;
      }),
      loop("row", 0, 4, 1),
      `let ${across.name} = top + row;`,
      `let ${along.name} = left;`,
      ...outer,
      ...body,
      "}",
    ]),
  };
}
