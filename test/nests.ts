import type { Backend, DeviceBuffer, Executable } from "../src/backend/backend.ts";
import { target as cpu, schedule as onCpu } from "../src/backend/cpu/wasm/heuristics.ts";
import { hold, sourceOfLoop, stepsOf } from "../src/backend/loop.ts";
import { coerce, convert, type DeviceDType, decode, encode, isFloat, isNarrow } from "../src/base/dtype.ts";
import type { Expr } from "../src/compile/expr.ts";
import {
  type Accumulator,
  type Axis,
  type Kernel,
  type MatmulKernel,
  type Nest,
  type ProcedureKernel,
  reads,
  type Statement,
  writesOf,
} from "../src/compile/kernel.ts";
import { nestOf, type Share } from "../src/compile/nest.ts";
import { type Addition, type Level, place, type Use } from "../src/compile/place.ts";
import type { Program } from "../src/compile/program.ts";
import { mul } from "../src/graph/elementwise.ts";
import { interpret } from "../src/graph/procedure.ts";
import { neutral } from "../src/graph/reduce.ts";
import { Device } from "../src/runtime/device.ts";

// Nests as JavaScript, and a device that runs them: the shortest printer there is. It follows statements and places and
// decides nothing, so what it gets wrong is missing in the nest. Floats are computed in float64 and rounded where they are
// stored. A kernel is a function of `v`, its values by their numbers, `h`, its host numbers, and `f`, what it calls.

type Functions = Record<string, (...args: never[]) => unknown>;

const number = (x: number) => (x < 0 || Object.is(x, -0) ? `(${Object.is(x, -0) ? "-0" : x})` : String(x));

/** Where an element lies in an array over axes. */
const flat = (axes: readonly Axis[]) =>
  axes.reduce((at, { name, extent }) => (extent === 1 ? at : `(${at}) * ${extent} + ${name}`), "0");

const rangeOf = ({ part: { name, extent: parts }, length }: Share, extent: number) => [
  `${name} * ${length}`,
  `(${name} === ${parts - 1} ? ${extent} : (${name} + 1) * ${length})`,
];

function loops(
  axes: readonly Axis[],
  body: readonly string[],
  heads: readonly string[][] = [],
  share?: Share,
): string[] {
  return axes.reduceRight<readonly string[]>((inside, { name, extent }, i) => {
    const [from, to] = i === 0 && share ? rangeOf(share, extent) : ["0", extent];
    const head = `for (let ${name} = ${from}; ${name} < ${to}; ${name}++) {`;
    return [head].concat(heads[i] ?? [], inside, "}");
  }, body) as string[];
}

class Printer {
  readonly functions: Functions = {};
  #leaves = 0;

  /** Stages one after the other; what parts keep lies in arrays over their grids. */
  stages(stages: readonly Nest[]): string[] {
    return stages.flatMap(({ grid, body }, i) => {
      const before = stages[i - 1]?.grid ?? [];
      return loops(
        grid,
        body.flatMap((s) => {
          const head: string[] = [];
          const written = new Set(writesOf({ kind: "nest", grid, body }));
          const lines = this.#statement(s, {
            heads: [head],
            levels: new Map(),
            written,
            kept: [grid, before],
          });
          return ["{", ...head, ...lines, "}"];
        }),
      );
    });
  }

  #statement(s: Statement, around: Around): string[] {
    const { heads, levels, kept } = around;
    switch (s.kind) {
      case "for": {
        const own = s.over.map((): string[] => []);
        const inside = new Map([
          ...levels,
          ...s.over.map(({ name }, i) => [name, heads.length + i] as const),
        ]);
        const within = { ...around, heads: [...heads, ...own], levels: inside };
        const begin = s.body.flatMap((part) => (part.kind === "accumulate" ? part.accumulators : []));
        const body = s.body.flatMap((part) => this.#statement(part, within));
        return [...begin.map(declare), ...loops(s.over, body, own, s.share)];
      }
      case "accumulate": {
        const text = this.#leaf(
          s.accumulators.map(({ expr }) => ({ expr, at: heads.length - 1 })),
          around,
        );
        return [
          ...text.lines,
          ...s.accumulators.map(
            (a) => `r[${a.index}] = ${this.#join(a)}(r[${a.index}], ${text.of(a.expr)});`,
          ),
        ];
      }
      case "keep":
        return s.accumulators.map(({ index }) => `k[${index}][${flat(kept[0])}] = r[${index}];`);
      case "combine": {
        const from = (index: number) => `k[${index}][${flat(kept[1])}]`;
        const join = s.accumulators.map(
          (a) => `r[${a.index}] = ${this.#join(a)}(r[${a.index}], ${from(a.index)});`,
        );
        return [...s.accumulators.map(declare), ...loops(s.over, join)];
      }
      case "write": {
        const at = heads.length - 1;
        const uses = s.stores.flatMap(({ index, expr }) => [index, expr]);
        const text = this.#leaf(
          uses.map((expr) => ({ expr, at, named: true })),
          around,
        );
        const stored = ({ dtype }: Expr, value: string) =>
          isNarrow(dtype) ? `${this.#bits(dtype)}(${value})` : value;
        return [
          ...text.lines,
          ...s.stores.map(
            ({ value, index, expr }) => `v[${value}][${text.of(index)}] = ${stored(expr, text.of(expr))};`,
          ),
        ];
      }
      case "at": {
        const { name, extent } = s.axis;
        const text = this.#leaf([{ expr: s.index, at: heads.length - 1 }], around);
        const inside = { ...around, levels: new Map([...levels, [name, heads.length - 1]]) };
        return [
          ...text.lines,
          `const ${name} = ${text.of(s.index)};`,
          `if (${name} >= 0 && ${name} < ${extent}) {`,
          ...s.body.flatMap((part) => this.#statement(part, inside)),
          "}",
        ];
      }
      default:
        return s satisfies never;
    }
  }

  /** What a statement computes: lines at its place, and others at the heads of loops around it. */
  #leaf(uses: readonly Use[], { heads, levels, written }: Around) {
    const at = heads.length - 1;
    const placement = place(uses, {
      levels,
      afterwards: at,
      written: new Map([...written].map((value) => [value, at])),
    });
    const leaf = this.#leaves++;
    const own = (name: string) => `${name}_${leaf}`;
    const of = (e: Expr): string => {
      const name = placement.name(e);
      return name === undefined ? write(e) : own(name);
    };
    const add = ({ onto, addends }: Addition) =>
      `(${[
        ...(onto === undefined ? [] : [own(onto.name)]),
        ...addends.map((a) =>
          typeof a === "number" ? number(a) : `${of(a.atom)} * ${number(a.coefficient)}`,
        ),
      ].join(" + ")})`;
    const write = (e: Expr): string => {
      switch (e.kind) {
        case "constant":
          return number(coerce(e.value, e.dtype));
        case "hostNumber":
          return `h[${e.index}]`;
        case "load": {
          const element = `v[${e.value}][${of(e.index)}]`;
          return isNarrow(e.dtype) ? `${this.#number(e.dtype)}(${element})` : element;
        }
        case "accumulator":
          return `r[${e.index}]`;
        case "variable":
          return e.name;
        case "apply":
          return `${this.#apply(e)}(${e.args.map(of).join(", ")})`;
        case "cast":
          return `${this.#cast(e.arg.dtype, e.dtype)}(${of(e.arg)})`;
        case "sum":
          return e.terms.length === 0 ? number(e.constant) : add(placement.rest(e));
        case "digit": {
          const quotient = `Math.floor(${of(e.arg)} / ${e.low})`;
          return e.high === Infinity ? quotient : `${quotient} % ${e.high / e.low}`;
        }
        case "clamp":
          return `Math.min(Math.max(${of(e.arg)}, 0), ${e.length - 1})`;
        case "inRange":
          return `Number(${of(e.arg)} >= 0 && ${of(e.arg)} < ${e.length})`;
        default:
          return e satisfies never;
      }
    };
    const lets = (level: Level) =>
      placement
        .lets(level)
        .map(({ name, what }) => `const ${own(name)} = ${"kind" in what ? write(what) : add(what)};`);
    for (let level = 0; level < at; level++) heads[level]!.push(...lets(level));
    return { lines: lets(at), of };
  }

  #call(name: string, f: (...args: never[]) => unknown): string {
    this.functions[name] = f;
    return `f.${name}`;
  }

  #apply({ row, args, dtype }: Extract<Expr, { kind: "apply" }>): string {
    const from = args[args.length - 1]!.dtype;
    return this.#call(`${row.name}_${from}`, (x: number, y = 0, z = 0) => {
      const value = row.evaluate(x, y, z, isFloat(from) ? "float64" : from);
      return isFloat(dtype) ? value : coerce(value, dtype);
    });
  }

  #cast(from: DeviceDType, to: DeviceDType): string {
    const rounds = isFloat(from) ? convert : coerce;
    return this.#call(`${from}_to_${to}`, (x: number) => (isFloat(to) && !isNarrow(to) ? x : rounds(x, to)));
  }

  #number(dtype: DeviceDType): string {
    return this.#call(`${dtype}_of_bits`, (bits: number) => decode(Uint16Array.of(bits), dtype)[0]);
  }

  #bits(dtype: DeviceDType): string {
    return this.#call(`bits_of_${dtype}`, (x: number) => encode(Float32Array.of(coerce(x, dtype)), dtype)[0]);
  }

  #join({ name, dtype }: Accumulator): string {
    const joins = {
      sum: (x: number, y: number) => x + y,
      prod: (x: number, y: number) => (isFloat(dtype) ? x * y : Math.imul(x, y)),
      max: Math.max,
      min: Math.min,
    };
    return this.#call(`${name}_${dtype}`, (x: number, y: number) =>
      isFloat(dtype) ? joins[name](x, y) : coerce(joins[name](x, y), dtype),
    );
  }
}

interface Around {
  /** Lines at the start of each level, the outermost before the statement. */
  readonly heads: readonly string[][];
  readonly levels: ReadonlyMap<string, Level>;
  readonly written: ReadonlySet<number>;
  /** The grids of this stage and of the one before. */
  readonly kept: readonly [own: readonly Axis[], before: readonly Axis[]];
}

const declare = ({ index, name, dtype }: Accumulator) => `r[${index}] = ${number(neutral(name, dtype))};`;

/** A product of matrices as a nest. */
function productOf({ batch, row, column, inner, a, b, dtype, stores }: MatmulKernel): Nest {
  const expr: Expr = { kind: "apply", id: -1, operands: [a, b], row: mul.row, args: [a, b], dtype };
  return nestOf({
    grid: [batch, row, column],
    inner: [inner],
    accumulators: [{ index: 0, name: "sum", dtype, expr }],
    stores,
  });
}

/** What is copied into the rows that a program works on. */
function copyOf({ fiber, position, initial, stores: [store] }: ProcedureKernel): Nest {
  return nestOf({
    grid: [fiber, position],
    inner: [],
    accumulators: [],
    stores: [{ ...store, expr: initial }],
  });
}

type Views = Readonly<Record<number, Float64Array>>;

/** A kernel as text, and ready to run. */
function printed(kernel: Kernel, schedule: (nest: Nest) => readonly Nest[]) {
  const printer = new Printer();
  const nest =
    kernel.kind === "nest" ? kernel : kernel.kind === "matmul" ? productOf(kernel) : copyOf(kernel);
  const source = printer.stages(kernel.kind === "nest" ? schedule(kernel) : [nest]).join("\n");
  const compute = new Function(
    "v",
    "h",
    "f",
    `const r = [];\nconst k = [[], [], [], [], [], [], [], []];\n${source}`,
  );
  return {
    source,
    run(views: Views, numbers: Readonly<Record<number, number>>) {
      compute(views, numbers, printer.functions);
      if (kernel.kind !== "procedure") return;
      const { fiber, position, procedure, stores } = kernel;
      const all = views[stores[0].value]!;
      for (let i = 0; i < fiber.extent; i++) {
        const row = all.subarray(i * position.extent, (i + 1) * position.extent);
        const own = Float64Array.from(row);
        interpret(procedure.code(), own);
        row.set(own);
      }
    },
  };
}

interface Memory extends DeviceBuffer {
  readonly data: ArrayBuffer;
}

/** The stages in which the CPU runs a nest. */
export const stagesOf = (nest: Nest): readonly Nest[] => onCpu(nest).map((stage) => stage.nest);

/** A device that runs nests as they are, or as stages that a schedule makes of them. */
export function nestDevice(schedule: (nest: Nest) => readonly Nest[] = (nest) => [nest]): Device {
  const load = (program: Program): Executable => {
    const memory = (bytes: number): Memory => ({ bytes, data: new ArrayBuffer(Math.ceil(bytes / 8) * 8) });
    const kernels = program.kernels.map((kernel) => {
      if (kernel.kind !== "loop") return { kind: "nest", kernel, ...printed(kernel, schedule) } as const;
      const body = load(kernel.body);
      return { kind: "loop", loop: kernel, body, source: sourceOfLoop(kernel, body.sources) } as const;
    });
    const { slots, spare } = hold(program, memory, () => {});
    const run: Executable["run"] = ({ inputs, outputs, scalars }) => {
      const bufferOf = (buffer: DeviceBuffer) => (buffer as Memory).data; // its own
      program.replaces.forEach((input, output) => {
        if (input === undefined || inputs[input] === outputs[output]) return;
        new Uint8Array(bufferOf(outputs[output]!)).set(new Uint8Array(bufferOf(inputs[input]!)));
      });
      const lying = (value: number): ArrayBuffer => {
        const at = program.places[value]!;
        return at.kind === "slot"
          ? slots[at.index]!.data
          : bufferOf((at.kind === "input" ? inputs : outputs)[at.index]!);
      };
      const viewOf = (value: number) => {
        const at = program.places[value]!;
        const { dtype, size } = program.values[value]!;
        const data = lying(value);
        const Elements = encode(decode(new Uint16Array(0), dtype), dtype)
          .constructor as Float64ArrayConstructor;
        return new Elements(data, at.kind === "slot" ? at.offset : 0, size);
      };
      const numbers = program.scalars.map(({ source, dtype }) => coerce(scalars[source]!, dtype));
      for (const each of kernels) {
        if (each.kind === "loop") {
          const whole = (value: number) => {
            const data = lying(value);
            return { bytes: data.byteLength, data } as Memory;
          };
          for (const step of stepsOf(each.loop, whole, spare.get(each.loop)!, scalars)) each.body.run(step);
          continue;
        }
        const { kernel, run: compute } = each;
        const values = [...reads(kernel), ...writesOf(kernel)];
        compute(Object.fromEntries(values.map((value) => [value, viewOf(value)])), numbers);
      }
    };
    return {
      sources: kernels.map(({ source }) => source),
      bytes: 0,
      run,
      profile: async () => ({ clock: "host", spans: [] }),
      dispose: () => {},
    };
  };
  const backend: Backend = {
    name: "cpu",
    description: "runs nests as JavaScript",
    target: cpu,
    lost: new Promise(() => {}),
    allocate: (bytes): Memory => ({ bytes, data: new ArrayBuffer(Math.ceil(bytes / 8) * 8) }),
    free: () => {},
    write: (buffer, data, at = 0) =>
      new Uint8Array((buffer as Memory).data).set(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        at,
      ),
    read: async (buffer, into) =>
      new Uint8Array(into.buffer).set(new Uint8Array((buffer as Memory).data, 0, into.byteLength)),
    load: async (program) => load(program),
    finish: async () => {},
    dispose: () => {},
  };
  return new Device(backend, 2 ** 30);
}
