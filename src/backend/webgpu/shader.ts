import type { DeviceDType } from "../../base/dtype.ts";
import { type Kernel, reads, writesOf } from "../../compile/kernel.ts";
import { bindingOf, type Place, type Program, physicalPlace } from "../../compile/program.ts";
import { bytesOf, type ValueId } from "../../compile/value.ts";
import { wholeQuads } from "./buffer.ts";
import { storedType, wgslType } from "./dtypes.ts";
import type { Code } from "./primitives.ts";
import type { MatmulChoice, Precision } from "./tiles.ts";

/** A kernel as WGSL, and how to dispatch it. */
export interface Shader {
  readonly source: string;
  /** In the order of their binding numbers. */
  readonly bindings: readonly Binding[];
  /** Which of the program's host numbers it reads, in its own order; if any, they are bound after the buffers. */
  readonly scalars: readonly number[];
  readonly workgroups: readonly [x: number, y: number];
}

/** One buffer of a kernel: a value, or two of which one takes over the other's place. */
export interface Binding {
  readonly place: Place;
  /** The part of the buffer that is bound, where it is not all. */
  readonly range: { readonly offset?: number; readonly size?: number };
  readonly name: string;
  /** Element type in WGSL, and whether two lie in each word. */
  readonly type: string;
  readonly pairs: boolean;
  /** Whether the kernel writes elements of it. */
  readonly stored: boolean;
  /** A buffer that the kernel writes is bound to be written in all its parts: a dispatch has one use of each buffer. */
  readonly write: boolean;
}

/** One place in a kernel's code that reads or writes a value. */
export interface Access {
  readonly value: ValueId;
  /** Whether it concerns four elements from a multiple of four. */
  readonly quad: boolean;
  /** Whether it loads one element for four. */
  readonly once?: boolean;
}

/** What printing must know of the device. */
export interface ShaderOptions {
  /** Workgroups in one dimension of a dispatch. */
  readonly maxWorkgroups: number;
  /** Invocations that keep the device busy: reductions to fewer results share each among a workgroup. */
  readonly busy: number;
  /** Invocations of the smallest workgroups, for work that is split among few: a software driver runs each on one core. */
  readonly leastWorkgroup: number;
  /** Whether the driver is not to know how long loops are: it would write them out, and take seconds to compile that. */
  readonly hideLengths: boolean;
  /** Invocations of a subgroup, where subgroups may be used and always have as many. */
  readonly subgroup?: number | undefined;
  /** The family of matmul kernels for each precision, as tuned for the adapter. */
  readonly matmul: Readonly<Record<Precision, MatmulChoice>>;
}

/** The buffers of a kernel, each once. Names follow their order in the kernel, so that equal kernels have equal sources. */
export class Bindings {
  readonly list: readonly Binding[];
  /** All that code may depend on: the buffers, but for what they are, and in which of them each of the kernel's values lies. */
  readonly form: string;
  readonly #of = new Map<ValueId, Binding>();
  #wide: ReadonlySet<Binding> = new Set();
  /** The program's host numbers that the code reads, in the order in which it names them first. */
  readonly scalars: number[] = [];

  constructor(kernel: Kernel, program: Program) {
    const written = writesOf(kernel);
    const places = new Map<string, { place: Place; values: ValueId[] }>();
    const bufferOf = ({ kind, index }: Place) => `${kind} ${index}`;
    const writtenBuffers = new Set(written.map((value) => bufferOf(physicalPlace(program, value))));
    const values = new Set([...reads(kernel), ...written]);
    for (const value of values) {
      const key = bindingOf(program, value);
      const known = places.get(key);
      if (known) known.values.push(value);
      else places.set(key, { place: physicalPlace(program, value), values: [value] });
    }
    const count = { in: 0, out: 0, inout: 0 };
    const isWritten = (value: ValueId) => written.includes(value);
    this.list = [...places.values()].map(({ place, values }) => {
      const role = !values.some(isWritten) ? "in" : values.every(isWritten) ? "out" : "inout";
      const typed = program.values[values.find(isWritten) ?? values[0]!]!;
      const binding: Binding = {
        place,
        range: place.kind === "slot" ? { offset: place.offset, size: wholeQuads(bytesOf(typed)) } : {},
        name: `${role}${count[role]++}`,
        type: storedType(typed.dtype),
        pairs: wgslType(typed.dtype).pairs ?? false,
        stored: role !== "in",
        write: writtenBuffers.has(bufferOf(place)),
      };
      for (const value of values) this.#of.set(value, binding);
      return binding;
    });
    const lies = [...values].map((value) => this.list.indexOf(this.#of.get(value)!));
    this.form = [...this.list.map(({ name, type, write }) => `${name} ${type} ${write}`), lies].join();
  }

  /** The element of a value, as the code's type. */
  load(value: ValueId, index: string, dtype: DeviceDType): Code {
    const binding = this.#of.get(value)!;
    const { name, pairs, stored } = binding;
    if (this.#wide.has(binding)) {
      const at = `(${index})`;
      return this.element(value, `${this.quad(value, at)}[${at} % 4]`, dtype);
    }
    if (!pairs) return this.element(value, `${name}[${index}]`, dtype);
    const pair = `${name}[(${index}) / 2]`;
    return `lorantz_ofPair(${stored ? `atomicLoad(&${pair})` : pair}, ${index})`;
  }

  /** What is stored of an element, as the code's type. */
  element(value: ValueId, stored: string, dtype: DeviceDType): Code {
    const type = storedType(dtype);
    const text = type === this.#of.get(value)!.type ? stored : `bitcast<${type}>(${stored})`;
    return dtype === "bool" ? { compound: `${text} != 0u` } : text;
  }

  /** Whether a value's buffer may be wide, given all accesses of the kernel: it is accessed in quads, beside which single elements are loaded for four at most. */
  isWideIn(accesses: readonly Access[], value: ValueId): boolean {
    const own = accesses.filter((access) => this.#of.get(access.value) === this.#of.get(value));
    return own.some(({ quad }) => quad) && own.every(({ quad, once }) => quad || once);
  }

  /** Makes arrays of vectors of the buffers that may be wide: once, when it is decided how the kernel runs. */
  widen(accesses: readonly Access[]): void {
    this.#wide = new Set(
      accesses.flatMap(({ value }) => (this.isWideIn(accesses, value) ? [this.#of.get(value)!] : [])),
    );
  }

  isWide(value: ValueId): boolean {
    return this.#wide.has(this.#of.get(value)!);
  }

  /** The four elements of a wide buffer from an index that is a multiple of four, given as an operand. */
  quad(value: ValueId, index: string): string {
    const { name, pairs } = this.#of.get(value)!;
    const quad = `${name}[${index} / 4]`;
    return pairs ? `lorantz_ofPairs(${quad})` : quad;
  }

  /** Stores four elements of a wide buffer, likewise. */
  storeQuad(value: ValueId, index: string, elements: readonly string[]): string {
    const { name, pairs } = this.#of.get(value)!;
    const quad = `${this.vector(value)}(${elements.join(", ")})`;
    return `${name}[${index} / 4] = ${pairs ? `lorantz_inPairs(${quad})` : quad};`;
  }

  /** The type of four elements of a wide buffer. */
  vector(value: ValueId): string {
    return `vec4<${this.#of.get(value)!.type}>`;
  }

  store(value: ValueId, index: string, text: string, dtype: DeviceDType): string {
    const { name, pairs } = this.#of.get(value)!;
    // The other half of the word is another invocation's.
    if (pairs) {
      const pair = `&${name}[(${index}) / 2]`;
      return `atomicAnd(${pair}, lorantz_otherOfPair(${index})); atomicOr(${pair}, lorantz_inPair(${text}, ${index}));`;
    }
    return `${name}[${index}] = ${dtype === "bool" ? `select(0u, 1u, ${text})` : text};`;
  }

  /** A host number: they are 32-bit words, four to a vector, as uniform buffers want them. */
  scalar(index: number, dtype: DeviceDType): Code {
    // Numbered by the kernel, so that kernels which differ only in whose numbers they read are one pipeline.
    const known = this.scalars.indexOf(index);
    const at = known >= 0 ? known : this.scalars.push(index) - 1;
    const word = `scalars[${at >> 2}].${"xyzw"[at & 3]}`;
    if (dtype === "bool") return { compound: `${word} != 0u` };
    const type = storedType(dtype);
    return type === "u32" ? word : `bitcast<${type}>(${word})`;
  }

  #elementOf(binding: Binding): string {
    const { type, pairs, stored } = binding;
    if (this.#wide.has(binding)) return pairs ? "vec2<u32>" : `vec4<${type}>`;
    return pairs && stored ? "atomic<u32>" : type;
  }

  /** Declarations of the buffers; ask after the code is printed. */
  declarations(): string[] {
    const lines = this.list.map(
      (binding, i) =>
        `@group(0) @binding(${i}) var<storage, ${binding.write ? "read_write" : "read"}> ${binding.name}: array<${this.#elementOf(binding)}>;`,
    );
    if (this.scalars.length > 0)
      lines.push(
        `@group(0) @binding(${lines.length}) var<uniform> scalars: array<vec4<u32>, ${Math.ceil(this.scalars.length / 4)}>;`,
      );
    return lines;
  }
}
