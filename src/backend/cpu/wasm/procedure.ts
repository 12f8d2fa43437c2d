import { bytesPerElement } from "../../../base/dtype.ts";
import { getOrInsert } from "../../../base/group.ts";
import type { ProcedureKernel, Store } from "../../../compile/kernel.ts";
import { nestOf } from "../../../compile/nest.ts";
import type { Operator, Statement, Term, Type } from "../../../graph/procedure.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module, Push, Value, ValueType } from "./assemble.ts";
import { apply, constant, extractLane, f32x4, f64, f64x2, i32, type Vector, v128 } from "./expressions.ts";
import { schedule } from "./heuristics.ts";
import type { Operator as Instruction, Named } from "./instructions.ts";
import { defineStages } from "./nest.ts";
import { type Phase, phaseTypes } from "./units.ts";

const integers: Partial<Record<Operator, Instruction>> = {
  add: "i32.add",
  sub: "i32.sub",
  mul: "i32.mul",
  div: "i32.div_s",
  rem: "i32.rem_s",
  and: "i32.and",
  xor: "i32.xor",
  shl: "i32.shl",
  shr: "i32.shr_u",
  lt: "i32.lt_s",
  le: "i32.le_s",
  eq: "i32.eq",
  both: "i32.and",
  either: "i32.or",
  toReal: "f64.convert_i32_s",
};

const reals: Partial<Record<Operator, Instruction>> = {
  add: "f64.add",
  sub: "f64.sub",
  mul: "f64.mul",
  div: "f64.div",
  sqrt: "f64.sqrt",
  abs: "f64.abs",
  lt: "f64.lt",
  le: "f64.le",
  eq: "f64.eq",
  toInt: "i32.trunc_sat_f64_s",
};

/** How elements of a dtype are kept in memory, alone and side by side. */
interface Element {
  readonly load: Named<"load">;
  readonly store: Named<"store">;
  /** One number in all lanes. */
  readonly splat: (address: Value<"i32">, offset?: number) => Vector;
  readonly bytes: number;
  readonly widens: boolean;
}

const elements: Record<ProcedureKernel["dtype"], Element> = {
  float32: { load: "f32.load", store: "f32.store", splat: v128.loadSplat32, bytes: 4, widens: true },
  float64: { load: "f64.load", store: "f64.store", splat: v128.loadSplat64, bytes: 8, widens: false },
  int32: { load: "i32.load", store: "i32.store", splat: v128.loadSplat32, bytes: 4, widens: false },
};

const localType = (type: Type) => (type === "real" ? "f64" : "i32");

/** The loops along runs of elements, by their names. */
type Runs = "addMultiple" | "subtractMultiples" | "rotations" | "dot" | "firstBelow";

/**
 * Loops along two runs of elements side by side, by vectors, then what is left one by one. Each is a function of its own: an
 * engine replaces a function by a faster one when it is called, and a program is called but once for each row.
 */
class RunFunctions {
  readonly #module: Module;
  readonly #element: Element;
  readonly #shape: "f32x4" | "f64x2";
  readonly #defined = new Map<Runs, number>();

  constructor(module: Module, dtype: ProcedureKernel["dtype"]) {
    this.#module = module;
    this.#element = elements[dtype];
    this.#shape = dtype === "float64" ? "f64x2" : "f32x4";
  }

  /** The index of a function of two addresses, a length in bytes, and factors. */
  of(name: Runs): number {
    return getOrInsert(this.#defined, name, () => this[name]());
  }

  load(address: Value<"i32">, offset = 0): Push<"f64"> {
    const { load, widens } = this.#element;
    const element: Push<"f64"> = (code) => code.push(address).memory(load, offset);
    return widens ? apply("f64.promote_f32", element) : element;
  }

  store(code: Code, address: Value<"i32">, value: Value<ValueType>): void {
    const { store, widens } = this.#element;
    code.store(store, address, 0, widens ? apply("f32.demote_f64", value) : value);
  }

  /** The same in all lanes. */
  #splat(code: Code, factor: Local<"f64">): Local<"v128"> {
    const all = this.#shape === "f32x4" ? apply<"f32">("f32.demote_f64", factor) : factor;
    return code.let("v128", apply(`${this.#shape}.splat`, all));
  }

  /** Goes along both, by four vectors, by one, and one by one; x and y are moved. `vector` gets the offset in bytes and which it is of the four. */
  #along(
    code: Code,
    { x, y, bytes }: Record<"x" | "y" | "bytes", Local<"i32">>,
    vector: (offset: number, which: number) => void,
    one: () => void,
  ): void {
    const stop = code.let("i32", i32.add(x, bytes));
    const end = code.local("i32");
    const each = (step: number, body: () => void) => {
      code.assign(end, i32.sub(stop, step - 1));
      code.if(i32.ltSigned(x, end), () =>
        code.doWhile(
          () => {
            body();
            code.advance(x, step).advance(y, step);
          },
          i32.ltSigned(x, end),
        ),
      );
    };
    each(64, () => {
      for (const i of [0, 1, 2, 3]) vector(16 * i, i);
    });
    each(16, () => vector(0, 0));
    each(this.#element.bytes, one);
  }

  get #vectors() {
    return this.#shape === "f32x4" ? f32x4 : f64x2;
  }

  /** y += factor x */
  addMultiple(): number {
    const { multiplyAdd } = this.#vectors;
    return this.#module.define(
      "addMultiple",
      { y: "i32", x: "i32", bytes: "i32", factor: "f64" },
      (code, { y, x, bytes, factor }) => {
        const factors = this.#splat(code, factor);
        this.#along(
          code,
          { x, y, bytes },
          (at) => code.store("v128.store", y, at, multiplyAdd(v128.load(x, at), factors, v128.load(y, at))),
          () => this.store(code, y, f64.add(this.load(y), f64.mul(this.load(x), factor))),
        );
      },
      { exported: false },
    );
  }

  /** y less rows times factors, four rows at a time, then one by one. */
  subtractMultiples(): number {
    const { mul, sub } = this.#vectors;
    const { bytes: each, splat } = this.#element;
    return this.#module.define(
      "subtractMultiples",
      { y: "i32", x: "i32", step: "i32", bytes: "i32", count: "i32", factors: "i32" },
      (code, { y, x, step, bytes, count, factors }) => {
        const stop = code.let("i32", i32.add(factors, count));
        const end = code.let("i32", i32.add(y, bytes));
        const at = code.local("i32");
        for (const rows of [4, 1]) {
          const places = Array.from({ length: rows }, () => code.local("i32"));
          const splats = Array.from({ length: rows }, () => code.local("v128"));
          const along = (size: number, body: () => void) => {
            const inside = i32.le(i32.add(at, size), end);
            code.if(inside, () =>
              code.doWhile(() => {
                body();
                for (const place of [at, ...places]) code.advance(place, size);
              }, inside),
            );
          };
          const more = i32.le(i32.add(factors, rows * each), stop);
          code.if(more, () =>
            code.doWhile(() => {
              code.assign(at, y);
              for (const [i, place] of places.entries()) {
                code.assign(splats[i]!, splat(factors, i * each));
                code.assign(place, x).advance(x, step);
              }
              const left = (vector: number): Value<"v128"> =>
                places.reduce<Value<"v128">>(
                  (sum, place, i) => sub(sum, mul(splats[i]!, v128.load(place, vector))),
                  v128.load(at, vector),
                );
              along(32, () => {
                for (const vector of [0, 16]) code.store("v128.store", at, vector, left(vector));
              });
              along(16, () => code.store("v128.store", at, 0, left(0)));
              along(each, () =>
                this.store(
                  code,
                  at,
                  places.reduce<Push<"f64">>(
                    (sum, place, i) => f64.sub(sum, f64.mul(this.load(factors, i * each), this.load(place))),
                    this.load(at),
                  ),
                ),
              );
              code.advance(factors, rows * each);
            }, more),
          );
        }
      },
      { exported: false },
    );
  }

  /** Rows that are turned, by columns: in four vectors, in one, and one by one. What one rotation leaves, the next takes. */
  rotations(): number {
    const { mul, add, sub } = this.#vectors;
    const { bytes: each, splat } = this.#element;
    return this.#module.define(
      "rotations",
      { rows: "i32", step: "i32", bytes: "i32", count: "i32", cosines: "i32", sines: "i32" },
      (code, { rows, step, bytes, count, cosines, sines }) => {
        const stop = code.let("i32", i32.add(rows, bytes));
        const last = code.let("i32", i32.add(cosines, count));
        const [row, next] = [code.local("i32"), code.local("i32")];
        const [cosine, sine] = [code.local("i32"), code.local("i32")];
        /** Along the columns as far as whole parts of that size go: `start` at the first row, then `turn` and `end`. */
        const along = (size: number, start: () => void, turn: () => void, end: () => void) =>
          code.if(i32.le(i32.add(rows, size), stop), () =>
            code.doWhile(
              () => {
                code.assign(row, rows).assign(cosine, cosines).assign(sine, sines);
                start();
                code.if(i32.lt(cosine, last), () =>
                  code.repeat(cosine, last, each, () => {
                    code.assign(next, i32.add(row, step));
                    turn();
                    code.assign(row, next).advance(sine, each);
                  }),
                );
                end();
                code.advance(rows, size);
              },
              i32.le(i32.add(rows, size), stop),
            ),
          );
        const [c, d] = [code.local("v128"), code.local("v128")];
        for (const vectors of [4, 1]) {
          const held = Array.from({ length: vectors }, () => code.local("v128"));
          const other = code.local("v128");
          along(
            16 * vectors,
            () => {
              for (const [i, x] of held.entries()) code.assign(x, v128.load(row, 16 * i));
            },
            () => {
              code.assign(c, splat(cosine)).assign(d, splat(sine));
              for (const [i, x] of held.entries()) {
                code.assign(other, v128.load(next, 16 * i));
                code.store("v128.store", row, 16 * i, add(mul(c, x), mul(d, other)));
                code.assign(x, sub(mul(c, other), mul(d, x)));
              }
            },
            () => {
              for (const [i, x] of held.entries()) code.store("v128.store", row, 16 * i, x);
            },
          );
        }
        const [x, y] = [code.local("f64"), code.local("f64")];
        along(
          each,
          () => code.assign(x, this.load(row)),
          () => {
            code.assign(y, this.load(next));
            const [c, d] = [this.load(cosine), this.load(sine)];
            this.store(code, row, f64.add(f64.mul(c, x), f64.mul(d, y)));
            code.assign(x, f64.sub(f64.mul(c, y), f64.mul(d, x)));
          },
          () => this.store(code, row, x),
        );
      },
      { exported: false },
    );
  }

  /** Sums of products in lanes and of what is left, then all together. */
  dot(): number {
    const { multiplyAdd } = this.#vectors;
    return this.#module.define(
      "dot",
      { x: "i32", y: "i32", bytes: "i32" },
      (code, { x, y, bytes }) => {
        const sums = [0, 1, 2, 3].map(() => code.local("v128"));
        const sum = code.local("f64");
        this.#along(
          code,
          { x, y, bytes },
          (at, i) => code.assign(sums[i]!, multiplyAdd(v128.load(x, at), v128.load(y, at), sums[i]!)),
          () => code.assign(sum, f64.add(sum, f64.mul(this.load(x), this.load(y)))),
        );
        const { add } = this.#vectors;
        const lanes = code.let("v128", add(add(sums[0]!, sums[1]!), add(sums[2]!, sums[3]!)));
        let total: Value<"f64"> = sum;
        for (let lane = 0; lane < 16 / this.#element.bytes; lane++) {
          const element = extractLane<"f64">(`${this.#shape}.extract_lane`, lanes, lane);
          total = f64.add(total, this.#element.widens ? apply("f64.promote_f32", element) : element);
        }
        code.push(total);
      },
      { exported: false, results: ["f64"] },
    );
  }

  /** How many elements come before the first that is less than a bound; sixteen at once are looked at. */
  firstBelow(): number {
    return this.#module.define(
      "firstBelow",
      { x: "i32", bytes: "i32", bound: "i32" },
      (code, { x, bytes, bound }) => {
        const at = code.let("i32", x);
        const [whole, stop] = [code.local("i32"), code.local("i32")];
        code.assign(whole, i32.add(x, i32.and(bytes, -64))).assign(stop, i32.add(x, bytes));
        const bounds = code.let("v128", apply("i32x4.splat", bound));
        const less = (offset: number) => apply("i32x4.lt_s", v128.load(at, offset), bounds);
        const some = apply(
          "v128.or",
          apply("v128.or", less(0), less(16)),
          apply("v128.or", less(32), less(48)),
        );
        const none = code.local("i32");
        const goOn = (end: Local<"i32">, step: number, test: Push<"i32">) =>
          code.if(i32.lt(at, end), () =>
            code.doWhile(
              () => code.assign(none, test).advance(at, i32.mul(none, step)),
              i32.and(none, i32.lt(at, end)),
            ),
          );
        goOn(whole, 64, i32.isZero(apply<"i32">("v128.any_true", some)));
        goOn(stop, 4, i32.isZero(i32.ltSigned(i32.load(at), bound)));
        code.push(apply("i32.shr_u", i32.sub(at, x), 2));
      },
      { exported: false, results: ["i32"] },
    );
  }
}

/** Writes a program over the row at `row`; locals of floats are float64. */
class Procedures {
  readonly #code: Code;
  readonly #row: Local<"i32">;
  readonly #locals: readonly Local[];
  readonly #element: Element;
  readonly #runs: RunFunctions;

  constructor(code: Code, row: Local<"i32">, runs: RunFunctions, { procedure, dtype }: ProcedureKernel) {
    this.#code = code;
    this.#row = row;
    this.#element = elements[dtype];
    this.#runs = runs;
    this.#locals = procedure.code().locals.map((type) => code.local(localType(type)));
  }

  write(statements: readonly Statement[]): void {
    for (const statement of statements) this.#statement(statement);
  }

  /** So many elements in bytes. */
  #bytes(count: Term): Push<"i32"> {
    return i32.shl(this.#int(count), Math.log2(this.#element.bytes));
  }

  #address(at: Term): Push<"i32"> {
    return i32.add(this.#row, this.#bytes(at));
  }

  #statement(s: Statement): void {
    const code = this.#code;
    switch (s.kind) {
      case "set":
        code.assign(this.#locals[s.local]!, this.#term(s.value));
        break;
      case "store":
        this.#runs.store(code, this.#address(s.at), this.#term(s.value));
        break;
      case "if": {
        const otherwise = s.otherwise.length > 0 ? () => this.write(s.otherwise) : undefined;
        code.if(this.#int(s.condition), () => this.write(s.holds), otherwise);
        break;
      }
      case "while": {
        const condition = this.#int(s.condition);
        code.if(condition, () => code.doWhile(() => this.write(s.body), condition));
        break;
      }
      case "for":
      case "each": {
        const at = this.#locals[s.local] as Local<"i32">; // of whole numbers
        code.assign(at, s.kind === "for" ? this.#int(s.from) : 0);
        const end = code.let("i32", this.#int(s.kind === "for" ? s.to : s.count));
        code.if(i32.ltSigned(at, end), () => code.repeat(at, end, 1, () => this.write(s.body)));
        break;
      }
      case "addMultiple":
        this.#run("addMultiple", s.y, s.x, s.length, s.factor);
        break;
      case "subtractMultiples": {
        code.push(this.#address(s.y)).push(this.#address(s.x));
        for (const count of [s.step, s.length, s.count]) code.push(this.#bytes(count));
        code.push(this.#address(s.factors)).call(this.#runs.of("subtractMultiples"));
        break;
      }
      case "rotations": {
        code.push(this.#address(s.rows));
        for (const count of [s.step, s.length, s.count]) code.push(this.#bytes(count));
        code.push(this.#address(s.cosines)).push(this.#address(s.sines)).call(this.#runs.of("rotations"));
        break;
      }
      default:
        s satisfies never;
    }
  }

  #run(name: Runs, first: Term, second: Term, length: Term, ...factors: readonly Term[]): void {
    const code = this.#code.push(this.#address(first)).push(this.#address(second)).push(this.#bytes(length));
    for (const factor of factors) code.push(this.#real(factor));
    code.call(this.#runs.of(name));
  }

  #int(term: Term): Value<"i32"> {
    return this.#term(term) as Value<"i32">; // what its type says
  }

  #real(term: Term): Value<"f64"> {
    return this.#term(term) as Value<"f64">; // likewise
  }

  #term(term: Term): Value<ValueType> {
    switch (term.kind) {
      case "number":
        return term.type === "real" ? constant("f64", term.value) : term.value;
      case "local":
        return this.#locals[term.index]!;
      case "load":
        return this.#runs.load(this.#address(term.at));
      case "dot":
        return () => this.#run("dot", term.x, term.y, term.length);
      case "firstBelow":
        return (code) => {
          code.push(this.#address(term.from)).push(this.#bytes(term.length)).push(this.#int(term.bound));
          code.call(this.#runs.of("firstBelow"));
        };
      case "apply": {
        const { operator } = term;
        const args = term.args.map((arg) => this.#term(arg));
        if (operator === "select") return apply("select", args[1]!, args[2]!, args[0]!);
        const { type } = term.args[0]!;
        if (operator !== "abs" || type === "real")
          return apply((type === "real" ? reals : integers)[operator]!, ...args);
        return (code) => {
          const x = code.let("i32", args[0] as Value<"i32">); // what is not real
          code.push(apply("select", i32.sub(0, x), x, i32.ltSigned(x, 0)));
        };
      }
      default:
        return term satisfies never;
    }
  }
}

/** First the copy of what is given, then the program on each row. */
export function defineProcedure(module: Module, kernel: ProcedureKernel, given: Arguments): Phase[] {
  const { fiber, position, initial, dtype, procedure } = kernel;
  const [{ value, index }] = kernel.stores;
  const store: Store = { value, index, expr: initial };
  const nest = nestOf({ grid: [fiber, position], inner: [], accumulators: [], stores: [store] });
  const copy = defineStages(module, schedule(nest), given, "copy").phases;
  const runs = new RunFunctions(module, dtype);
  module.define("run", phaseTypes, (code, { begin, end, args }) => {
    const start = code.piece();
    const pointer = given.access(start, args).pointer(value);
    const row = code.local("i32");
    const unit = code.local("i32");
    const body = code.piece();
    new Procedures(body, row, runs, kernel).write(procedure.code().statements);
    code.append(start);
    const bytes = position.extent * bytesPerElement(dtype);
    code.assign(unit, begin).assign(row, i32.add(pointer, i32.mul(begin, bytes)));
    code.repeat(unit, end, 1, () => code.append(body).advance(row, bytes));
  });
  return [...copy, { name: "run", units: fiber.extent, cost: procedure.work }];
}
