import { type DType, deviceDTypes, isFloat } from "../../src/base/dtype.ts";
import { numel, type Shape } from "../../src/base/shape.ts";
import { isPacked, Tensor } from "../../src/index.ts";
import {
  isForCallers,
  isPlain,
  type Leaf,
  makeLeaf,
  partsOf,
  Ref,
  refsOf,
  runStep,
  type Step,
  type Values,
} from "./case.ts";
import type { Operation } from "./surface.ts";
import { resolve, type Type } from "./types.ts";

// Arguments from declared types. Which of the many shapes, axes and dtypes an operation takes is learned: every draw is
// a choice at a place (operation, argument, question), and choices of calls that succeed are made more often. Some
// draws stay blind, so that wrong arguments are met too.

/** Ranks of leaves, as often as they are worth it. */
const ranks = [0, 1, 1, 2, 2, 2, 3, 3, 4, 5];

/** Texts that say what becomes of axes. */
const formulas = ["i", "ij->ji", "...i", "...ij->...j", "ij,jk", "i,j->ij", "...,...->..."];

/** Begins the place of what is a field of a type with a name: it is drawn alike for all who take that type. */
const ofType = "the type ";

/** Names of fields where any will do. */
const names: readonly (readonly string[])[] = [["a", "b"], ["fc1"], ["b", "fc1", "0"], []];

/** Choices that led to success. */
export class Learned {
  readonly #weights: Map<string, number[]>;
  #open: [weights: number[], chosen: number][] = [];
  /** How many of the choices of a call are made without regard to what was learned. */
  #blind = 0;
  /** No more learning: what is drawn is then a function of the seed alone. */
  frozen = false;

  /** Starts from what another one learned, if there is one, and leaves that as it is. */
  constructor(from?: Learned) {
    this.#weights = new Map(
      [...(from ? from.#weights : [])].map(([place, weights]) => [place, [...weights]]),
    );
    this.frozen = from?.frozen ?? false;
  }

  /** Begins a call. Most keep to what was learned: of many choices, one that is blind is enough to spoil it. */
  open(random: Random): void {
    this.#open = [];
    this.#blind = random.chance(0.3) ? 0.3 : 0;
  }

  choose<T>(question: string, options: readonly T[], random: Random): T {
    let weights = this.#weights.get(question);
    if (!weights || weights.length !== options.length) {
      weights = options.map(() => 1);
      this.#weights.set(question, weights);
    }
    const chosen = random.chance(this.#blind) ? random.below(options.length) : random.weighted(weights);
    this.#open.push([weights, chosen]);
    return options[chosen]!;
  }

  /** Makes a call within the drawing of another one. */
  nested<T>(call: () => T): T {
    const [outer, blind] = [this.#open, this.#blind];
    const result = call();
    [this.#open, this.#blind] = [outer, blind];
    return result;
  }

  /** What came of the choices since the call began. */
  settle(success: boolean): void {
    if (success && !this.frozen) for (const [weights, chosen] of this.#open) weights[chosen]! += 1;
  }
}

export class Random {
  readonly next: () => number;
  constructor(next: () => number) {
    this.next = next;
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  /** An index, as often as its weight says. */
  weighted(weights: readonly number[]): number {
    let left = this.next() * weights.reduce((sum, weight) => sum + weight, 0);
    const chosen = weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
    return chosen < 0 ? weights.length - 1 : chosen;
  }
  pick<T>(options: readonly T[]): T {
    return options[this.below(options.length)]!;
  }
}

export interface DraftOptions {
  /** Dtypes that leaves may have. */
  readonly dtypes: readonly DType[];
  /** Lengths that axes of leaves have. */
  readonly lengths: readonly number[];
  /** Makers of what cannot be written down: packed weights. */
  readonly makers: readonly Operation[];
  /** Elements that a leaf may have. */
  readonly most: number;
}

/** A graph in the making. */
export class Draft {
  readonly leaves: Leaf[] = [];
  readonly steps: Step[] = [];
  readonly values: Values = new Map();
  readonly random: Random;
  readonly learned: Learned;
  readonly dtypes: readonly DType[];
  readonly lengths: readonly number[];
  readonly #makers: readonly Operation[];
  readonly #most: number;
  #made = 0;

  constructor(random: Random, learned: Learned, { dtypes, lengths, makers, most }: DraftOptions) {
    this.random = random;
    this.learned = learned;
    this.dtypes = dtypes;
    this.lengths = lengths;
    this.#makers = makers;
    this.#most = most;
  }

  /** A value that an operation must make, where there is none yet. */
  make(fits: (value: unknown) => boolean): Ref | undefined {
    for (let tries = 0; tries < 10 && this.refs(fits).length === 0; tries++)
      this.learned.nested(() => this.call(this.random.pick(this.#makers)));
    return this.refs(fits).at(-1);
  }

  shape(rank = this.random.pick(ranks)): Shape {
    return Array.from({ length: rank }, () => this.random.pick(this.lengths));
  }

  add(leaf: Omit<Leaf, "id">): Ref {
    const made = { ...leaf, id: `${leaf.dtype === "key" ? "k" : "x"}${this.#made++}` };
    this.leaves.push(made);
    this.values.set(made.id, makeLeaf(made));
    return new Ref(made.id);
  }

  /** A new leaf of some shape and dtype. */
  leaf(dtype: DType, wanted: Shape): Ref {
    const { random } = this;
    let room = this.#most;
    const shape = wanted.map((length) => {
      const fits = length <= room ? length : 1;
      room /= Math.max(fits, 1);
      return fits;
    });
    const size = dtype === "number" ? 1 : numel(shape);
    const family = random.below(8);
    const values = Array.from({ length: size }, () => this.#element(dtype, family));
    return this.add({ dtype, shape: dtype === "number" ? [] : shape, values });
  }

  #element(dtype: DType, family: number): number {
    const { random } = this;
    if (dtype === "bool") return random.below(2);
    if (!isFloat(dtype)) {
      const lowest = dtype === "uint32" ? 0 : -3;
      if (family === 0) return random.pick(dtype === "uint32" ? wordsOfUint : wordsOfInt);
      if (family === 1) return Math.floor(random.next() * 2 ** 31);
      return lowest + random.below(7);
    }
    switch (family) {
      case 0:
        return random.pick(specials);
      case 1:
        return random.pick([-1, 1]) * 2 ** (random.next() * 40 - 20);
      case 2:
      case 3:
        return random.below(7) - 3;
      case 4:
        return random.next();
      default:
        return (random.below(97) - 48) / 16;
    }
  }

  refs(fits: (value: unknown) => boolean): Ref[] {
    return [...this.values].flatMap(([id, value]) => (fits(value) ? [new Ref(id)] : []));
  }

  /**
   * Calls an operation with arguments drawn for it.
   *
   * @returns The step; or what it threw, with the call that did.
   */
  call(operation: Operation): Step | { readonly thrown: unknown; readonly step: Step } {
    const { random } = this;
    const kept = this.leaves.length;
    this.learned.open(random);
    const signature = random.pick(operation.signatures);
    const arguing = new Arguing(this, operation.name, signature.bounds);
    const receiver = operation.method
      ? arguing.draw(
          {
            kind: "name",
            name: operation.name.startsWith("key") ? "Key" : "Tensor",
            args: [{ kind: "name", name: "D", args: [], file: "" }],
            file: "",
          },
          "receiver",
        )
      : undefined;
    const args: unknown[] = [];
    for (const { name, type, optional, rest, of = operation.name } of signature.params) {
      arguing.operation = of;
      if (optional && arguing.choose(`${name} is there`, [true, false]) === false) break;
      const drawn = arguing.draw(type, name);
      args.push(...(rest && !operation.method && Array.isArray(drawn) ? drawn : [drawn]));
    }
    const step: Step = {
      id: `s${this.steps.length}`,
      operation,
      receiver: receiver as Ref | undefined,
      args,
    };
    try {
      const values = new Map(this.values);
      const parts = partsOf(step.id, runStep(step, values));
      this.learned.settle(true);
      this.steps.push(step);
      for (const [id, value] of parts) this.values.set(id, value);
      return step;
    } catch (thrown) {
      this.learned.settle(false);
      if (isForCallers(thrown)) this.forget(kept);
      return { thrown, step };
    }
  }

  /** Takes the latest step back. */
  undo({ id }: Step): void {
    this.steps.pop();
    for (const other of [...this.values.keys()])
      if (other === id || other.startsWith(`${id}.`)) this.values.delete(other);
  }

  /** Drops leaves that were made for a call that failed. */
  forget(kept: number): void {
    const used = new Set(this.steps.flatMap(({ receiver, args }) => refsOf([receiver, args])));
    for (const leaf of this.leaves.splice(kept)) {
      if (used.has(leaf.id)) this.leaves.push(leaf);
      else this.values.delete(leaf.id);
    }
  }
}

const specials = [
  0,
  -0,
  1,
  -1,
  Number.NaN,
  Infinity,
  -Infinity,
  0.5,
  2.5,
  1e-30,
  -1e30,
  65504,
  1e-40,
  88,
  -104,
  1e10,
];
const wordsOfInt = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 65536, 31, 32];
const wordsOfUint = [0, 1, 2, 2 ** 32 - 1, 2 ** 31, 65536, 31, 32];
/** As often as they are worth it. */
const kindsOfNumbers = [
  ...["small", "small", "length", "length", "other length", "axis", "axis"],
  ...["negative", "fraction", "unit", "odd"],
] as const;
const oddNumbers = [
  Number.NaN,
  Infinity,
  -Infinity,
  0.5,
  -0.5,
  1.5,
  -0,
  2 ** 31,
  2 ** 32,
  -(2 ** 31),
  1e10,
  33,
  1e-8,
];

/** The arguments of one call: what was drawn so far decides what fits. */
class Arguing {
  /** Whose arguments are drawn: an operation that is made of others takes what these take. */
  operation: string;
  readonly #draft: Draft;
  readonly #bounds: ReadonlyMap<string, Type>;
  readonly #chosen = new Map<string, DType>();
  /** Tensors drawn so far. */
  readonly #related: Tensor[] = [];

  constructor(draft: Draft, operation: string, bounds: ReadonlyMap<string, Type>) {
    this.#draft = draft;
    this.operation = operation;
    this.#bounds = bounds;
  }

  choose<T>(question: string, options: readonly T[]): T {
    if (options.length === 1) return options[0]!;
    const whose = question.includes(ofType) ? "" : this.operation;
    return this.#draft.learned.choose(`${whose} ${question}`, options, this.#draft.random);
  }

  draw(declared: Type, place: string): unknown {
    const { random } = this.#draft;
    if (declared.kind === "name") {
      const { name, args } = declared;
      const own = name.split(".").pop()!;
      if (own === "Tensor") return this.#tensor(args[0], place);
      if (own === "Key") return this.#key();
      if (own === "Packed") return this.#packed();
      if (name === "number") return this.#number(place);
      if (name === "string") return this.choose(`${place} is`, ["a", "", "0", "fc1", ...formulas]);
      if (name === "boolean") return random.chance(0.5);
      if (own === "RegExp") return random.pick([/./, /1$/]);
      if (own === "HostArray") return new Float32Array([1, 2, 3, 4].slice(0, random.below(5)));
      if (own === "Nested")
        return random.pick([
          1,
          -2.5,
          true,
          [1, 2],
          [[1], [2]],
          [true, false],
          [
            [1.5, 2],
            [3, 4],
          ],
        ]);
      // Floats that the backend lacks are refused when a program runs, not when the graph is built.
      const dtypes = this.#dtypes(declared).filter(
        (dtype) => dtype === "number" || !isFloat(dtype) || this.#draft.dtypes.includes(dtype),
      );
      if (dtypes.length > 0) return this.#bind(name, dtypes, place);
      const inner = resolve(declared);
      if (inner.kind === "object") return this.draw(substitute(inner, declared), `${ofType}${name}`);
      if (inner.kind !== "name") return this.draw(substitute(inner, declared), place);
      const bound = this.#bounds.get(name);
      return bound ? this.draw(bound, place) : undefined;
    }
    switch (declared.kind) {
      case "literal":
        return declared.value;
      case "union":
        return this.draw(this.choose(`${place} of the union`, declared.of), place);
      case "tuple":
        return declared.of.map((part, i) => this.draw(part, `${place}.${i}`));
      case "array":
        return this.#array(declared.of, place);
      case "object": {
        const fields = declared.fields.filter(
          ({ name, optional, type }) =>
            type.kind !== "function" &&
            (!optional || this.choose(`${place}.${name} is there`, [false, false, false, true])),
        );
        return Object.fromEntries(
          fields.flatMap(({ name, type, anyName }) =>
            (anyName ? this.choose(`${place}'s names`, names) : [name]).map((own) => [
              own,
              this.draw(type, `${place}.${name}`),
            ]),
          ),
        );
      }
      default:
        return undefined;
    }
  }

  /** The dtypes that a type stands for, if it stands for any. */
  #dtypes(type: Type): DType[] {
    if (type.kind === "literal") return [...deviceDTypes, "number" as const].filter((d) => d === type.value);
    if (type.kind === "union") return type.of.flatMap((part) => this.#dtypes(part));
    if (type.kind !== "name") return [];
    if (type.name === "Exclude") {
      const [from, without] = type.args.map((arg) => this.#dtypes(arg));
      return from!.filter((dtype) => !without!.includes(dtype));
    }
    const inner = this.#bounds.get(type.name) ?? resolve(type);
    if (inner.kind === "name" && inner.name === type.name)
      return type.name === "D" || type.name === "DType" ? [...deviceDTypes, "number"] : [];
    return this.#dtypes(inner);
  }

  /** The dtype of a type parameter: once drawn it stays. */
  #bind(name: string, dtypes: readonly DType[], place: string): DType {
    const known = this.#chosen.get(name);
    if (known && this.choose(`${place} keeps ${name}`, [true, true, true, false])) return known;
    const chosen = this.choose(`dtype of ${place}`, dtypes);
    if (/^[A-Z]$/.test(name)) this.#chosen.set(name, chosen);
    return chosen;
  }

  #tensor(parameter: Type | undefined, place: string): Ref {
    const draft = this.#draft;
    const { random } = draft;
    const first = this.#related[0];
    let dtype: DType;
    if (place === "receiver") {
      const pool = draft.refs((value) => value instanceof Tensor);
      const dtypes = draft.dtypes;
      const wanted = this.choose("dtype of the receiver", [...deviceDTypes, "number" as const]);
      dtype = dtypes.includes(wanted) || wanted === "number" ? wanted : random.pick(dtypes);
      const rank = this.choose("rank of the receiver", ranks);
      const fitting = pool.filter(({ id }) => {
        const value = draft.values.get(id) as Tensor;
        return value.dtype === dtype && value.rank === rank;
      });
      // The latest value makes chains; any other makes graphs.
      const latest = pool.at(-1);
      const ref =
        latest && random.chance(0.5)
          ? latest
          : fitting.length > 0 && random.chance(0.8)
            ? random.pick(fitting)
            : draft.leaf(dtype, draft.shape(rank));
      const value = draft.values.get(ref.id) as Tensor;
      this.#chosen.set("D", value.dtype);
      this.#related.push(value);
      return ref;
    }
    if (!parameter) {
      const kept = first && this.choose(`${place} has the dtype of the first`, [true, false]);
      dtype = kept ? first.dtype : this.choose(`dtype of ${place}`, deviceDTypes);
    } else {
      const dtypes = this.#dtypes(parameter);
      const name = parameter.kind === "name" ? parameter.name : "";
      dtype = this.#bind(name, dtypes.length > 0 ? dtypes : deviceDTypes, place);
    }
    if (dtype !== "number" && !draft.dtypes.includes(dtype)) dtype = random.pick(draft.dtypes);
    const fits = (value: unknown): value is Tensor => value instanceof Tensor && value.dtype === dtype;
    let ref: Ref | undefined;
    const relation = first ? this.choose(`shape of ${place}`, relations) : "any";
    const base =
      this.#related.length > 1 && relation !== "any"
        ? this.choose(`${place} goes with`, [first!, this.#related.at(-1)!])
        : first;
    const rank = relation === "any" ? this.choose(`rank of ${place}`, ranks) : 0;
    if (relation === "any") {
      const pool = draft.refs((value) => fits(value) && value.rank === rank);
      if (pool.length > 0 && random.chance(0.7)) ref = random.pick(pool.slice(-6));
    }
    const shape = relation === "any" ? draft.shape(rank) : this.#relate(relation, base!.shape);
    if (!ref) {
      const pool = draft.refs((value) => fits(value) && value.shape.join() === shape.join());
      ref = pool.length > 0 && random.chance(0.6) ? random.pick(pool) : draft.leaf(dtype, shape);
    }
    this.#related.push(draft.values.get(ref.id) as Tensor);
    return ref;
  }

  #relate(relation: Exclude<(typeof relations)[number], "any">, shape: Shape): Shape {
    const { random, lengths } = this.#draft;
    const length = random.pick(lengths);
    const axis = random.below(Math.max(shape.length, 1));
    switch (relation) {
      case "same":
        return shape;
      case "broadcast":
        return shape.slice(random.below(shape.length + 1)).map((n) => (random.chance(0.3) ? 1 : n));
      case "one axis else":
        return shape.map((n, i) => (i === axis ? length : n));
      case "last axis else":
        return shape.map((n, i) => (i === shape.length - 1 ? length : n));
      case "last but one else":
        return shape.map((n, i) => (i === shape.length - 2 ? length : n));
      case "without last":
        return shape.slice(0, -1);
      case "vector of last":
        return shape.slice(-1);
      case "vector of first":
        return shape.slice(0, 1);
      case "vector of some axis":
        return shape.slice(axis, axis + 1);
      case "vector":
        return [length];
      case "columns":
        return [...shape.slice(0, random.pick([0, -2])), shape.at(-1) ?? 1, length];
      case "rows":
        return [length, shape.at(-1) ?? 1];
      case "tail":
        return shape.slice(axis);
      case "scalar":
        return [];
    }
  }

  #key(): Ref {
    const { random } = this.#draft;
    const keys = this.#draft.refs((value) => value instanceof Object && "words" in value);
    if (keys.length > 0 && random.chance(0.7)) return random.pick(keys);
    return this.#draft.add({ dtype: "key", shape: [], values: [random.below(1000)] });
  }

  #packed(): Ref | undefined {
    const packed = this.#draft.refs(isPacked);
    return packed.length > 0 ? this.#draft.random.pick(packed) : this.#draft.make(isPacked);
  }

  #number(place: string): number {
    const { random, lengths } = this.#draft;
    const shape = (this.#related[0]?.shape ?? []) as Shape;
    switch (this.choose(`kind of ${place}`, kindsOfNumbers)) {
      case "small":
        return random.below(4);
      case "axis":
        return random.below(2 * shape.length + 1) - shape.length;
      case "length":
        return random.pick(shape.length > 0 ? shape : lengths);
      case "other length":
        return random.pick(lengths);
      case "negative":
        return -1 - random.below(4);
      case "fraction":
        return (random.below(65) - 32) / 8;
      case "unit":
        return random.next();
      default:
        return random.pick(oddNumbers);
    }
  }

  #array(of: Type, place: string): unknown[] {
    const { random, lengths } = this.#draft;
    const shape = this.#related[0]?.shape ?? [];
    const rank = shape.length;
    const element = resolve(of);
    const numeric = (type: Type): boolean => type.kind === "name" && type.name === "number";
    if (numeric(element)) {
      switch (
        this.choose(`${place} as`, [
          "shape",
          "tail",
          "head",
          "order",
          "refactored",
          "wider",
          "small",
          "axes",
          "numbers",
          "flat",
        ])
      ) {
        case "shape":
          return [...shape];
        case "tail":
          return shape.slice(random.below(rank + 1));
        case "head":
          return shape.slice(0, random.below(rank + 1));
        case "order":
          return shuffled(
            shape.map((_, axis) => (random.chance(0.2) ? axis - rank : axis)),
            random,
          );
        case "refactored":
          return refactored(numel(shape), random);
        case "wider": {
          const stretched = shape.map((n) => (n === 1 ? random.pick(lengths) : random.chance(0.1) ? -1 : n));
          return random.chance(0.5) ? stretched : [random.pick(lengths), ...stretched];
        }
        case "small":
          return [...this.#draft.shape(random.pick(ranks.filter((n) => n <= 4)))];
        case "axes":
          return shuffled(
            shape.map((_, axis) => axis),
            random,
          ).slice(0, random.below(rank + 1));
        case "flat":
          return [-1];
        default:
          return Array.from({ length: random.chance(0.7) ? rank : random.below(5) }, () =>
            this.#number(`${place}[]`),
          );
      }
    }
    const tensors = of.kind === "name" && of.name === "Tensor";
    const length = tensors
      ? random.pick([0, 1, 2, 2, 2, 3, 3, 4, 5, 12])
      : this.choose(`length of ${place}`, [true, false])
        ? rank
        : random.below(5);
    return Array.from({ length }, () => this.draw(of, `${place}[]`));
  }
}

const relations = [
  "any",
  "same",
  "broadcast",
  "one axis else",
  "last axis else",
  "last but one else",
  "without last",
  "vector of last",
  "vector of first",
  "vector of some axis",
  "vector",
  "columns",
  "rows",
  "tail",
  "scalar",
] as const;

function shuffled<T>(values: readonly T[], random: Random): T[] {
  const result = [...values];
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** Another shape with as many elements, perhaps with one length left to be worked out. */
function refactored(size: number, random: Random): number[] {
  const lengths: number[] = [];
  let rest = size;
  for (let i = random.below(4); i > 0 && rest > 0; i--) {
    const divisors = [1, 2, 3, 4, 5, 7].filter((n) => rest % n === 0);
    const divisor = random.pick(divisors);
    lengths.push(divisor);
    rest /= divisor;
  }
  const shape = shuffled([...lengths, rest], random);
  if (random.chance(0.3)) shape[random.below(shape.length)] = -1;
  return shape;
}

/** The arguments of a generic type in the place of its parameters: only dtypes are generic here. */
function substitute(type: Type, declared: Extract<Type, { kind: "name" }>): Type {
  const [argument] = declared.args;
  if (!argument) return type;
  const visit = (at: Type): Type => {
    switch (at.kind) {
      case "name":
        if (/^[A-Z]$/.test(at.name)) return argument;
        return { ...at, args: at.args.map(visit) };
      case "union":
      case "tuple":
        return { ...at, of: at.of.map(visit) };
      case "array":
        return { ...at, of: visit(at.of) };
      case "object":
        return { ...at, fields: at.fields.map((field) => ({ ...field, type: visit(field.type) })) };
      default:
        return at;
    }
  };
  return visit(type);
}

/** Names of types that are drawn as they are, wherever they are declared. */
const drawnByName = /(?:^|\.)(?:Tensor|Key|Packed|number|string|boolean|RegExp|HostArray|Nested)$/;

/** Can values of a type be drawn? What holds functions, or what no text says, cannot. */
export function canBeDrawn(type: Type, bounds: ReadonlyMap<string, Type>): boolean {
  switch (type.kind) {
    case "literal":
      return true;
    case "union":
      return type.of.some((part) => canBeDrawn(part, bounds));
    case "tuple":
      return type.of.every((part) => canBeDrawn(part, bounds));
    case "array":
      return canBeDrawn(type.of, bounds);
    case "object":
      return (
        type.fields.length > 0 &&
        type.fields.every(({ type: field, optional }) => optional || canBeDrawn(field, bounds))
      );
    case "name": {
      if (drawnByName.test(type.name)) return true;
      const inner = bounds.get(type.name) ?? resolve(type);
      return inner.kind === "name" && inner.name === type.name ? false : canBeDrawn(inner, bounds);
    }
    default:
      return false;
  }
}

/** May an argument of that type be that value? What is not known to be ruled out may. */
export function admits(type: Type, value: unknown, bounds: ReadonlyMap<string, Type>): boolean {
  switch (type.kind) {
    case "literal":
      return value === type.value;
    case "union":
      return type.of.some((part) => admits(part, value, bounds));
    case "array":
      return Array.isArray(value) && value.every((part) => admits(type.of, part, bounds));
    case "tuple":
      return (
        Array.isArray(value) &&
        type.of.length === value.length &&
        type.of.every((part, i) => admits(part, value[i], bounds))
      );
    case "object": {
      // No options are options, whatever says so.
      if (value === null) return type.fields.every(({ optional }) => optional);
      if (!isPlain(value)) return false;
      if (type.fields.some(({ anyName }) => anyName)) return true; // of fields there may be others
      const names = type.fields.map(({ name }) => name);
      return (
        Object.keys(value).every((key) => names.includes(key)) &&
        type.fields.every(({ name, type: field, optional }) =>
          name in value ? admits(field, value[name], bounds) : optional,
        )
      );
    }
    case "name": {
      const { name } = type;
      if (name === "number" || name === "string" || name === "boolean") return typeof value === name;
      if (/(?:^|\.)(?:Tensor|Key|HostArray|Packed)$/.test(name)) return false; // the wrong values are none of these
      if (name === "Exclude")
        return typeof value === "string" && deviceDTypes.some((dtype) => dtype === value);
      const inner = bounds.get(name) ?? resolve(type);
      return inner.kind === "name" && inner.name === name ? true : admits(inner, value, bounds);
    }
    default:
      return true;
  }
}
