import { bytesPerElement } from "../../../base/dtype.ts";
import type { ProcedureKernel, Store } from "../../../compile/kernel.ts";
import { nestOf } from "../../../compile/nest.ts";
import type { Operator, Statement, Term, Type } from "../../../graph/procedure.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { type Phase, phaseTypes } from "./grid.ts";
import { schedule } from "./heuristics.ts";
import type { Operator as Instruction, Named } from "./instructions.ts";
import { defineStages } from "./stages.ts";

const integers: Partial<Record<Operator, Instruction>> = {
  add: "i32.add",
  sub: "i32.sub",
  mul: "i32.mul",
  div: "i32.div_s",
  rem: "i32.rem_s",
  and: "i32.and",
  or: "i32.or",
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
  readonly bytes: number;
  readonly widens: boolean;
}

const elements: Record<ProcedureKernel["dtype"], Element> = {
  float32: { load: "f32.load", store: "f32.store", bytes: 4, widens: true },
  float64: { load: "f64.load", store: "f64.store", bytes: 8, widens: false },
  int32: { load: "i32.load", store: "i32.store", bytes: 4, widens: false },
};

const localType = (type: Type) => (type === "real" ? "f64" : "i32");

/** Writes a program over the row at `row`; locals of floats are float64. */
class Procedures {
  readonly #code: Code;
  readonly #row: Local<"i32">;
  readonly #locals: readonly Local[];
  readonly #element: Element;
  readonly #shape: "f32x4" | "f64x2";

  constructor(code: Code, row: Local<"i32">, { procedure, dtype }: ProcedureKernel) {
    this.#code = code;
    this.#row = row;
    this.#element = elements[dtype];
    this.#shape = dtype === "float64" ? "f64x2" : "f32x4";
    this.#locals = procedure.code().locals.map((type) => code.local(localType(type)));
  }

  write(statements: readonly Statement[]): void {
    for (const statement of statements) this.#statement(statement);
  }

  /** The address of an element. */
  #address(at: Term): void {
    const { bytes } = this.#element;
    this.#code.get(this.#row);
    this.#term(at);
    this.#code.i32(Math.log2(bytes)).op("i32.shl", "i32.add");
  }

  #load(): void {
    const { load, widens } = this.#element;
    this.#code.memory(load);
    if (widens) this.#code.op("f64.promote_f32");
  }

  #store(): void {
    const { store, widens } = this.#element;
    if (widens) this.#code.op("f32.demote_f64");
    this.#code.memory(store);
  }

  #statement(s: Statement): void {
    const code = this.#code;
    switch (s.kind) {
      case "set":
        this.#term(s.value);
        code.set(this.#locals[s.local]!);
        break;
      case "store":
        this.#address(s.at);
        this.#term(s.value);
        this.#store();
        break;
      case "if":
        this.#term(s.condition);
        code.when(
          () => this.write(s.holds),
          s.otherwise.length > 0 ? () => this.write(s.otherwise) : undefined,
        );
        break;
      case "while":
        this.#term(s.condition);
        code.when(() =>
          code.doWhile(
            () => this.write(s.body),
            () => this.#term(s.condition),
          ),
        );
        break;
      case "for":
      case "each": {
        const at = this.#locals[s.local] as Local<"i32">;
        if (s.kind === "for") this.#term(s.from);
        else code.i32(0);
        code.set(at);
        const end = code.local("i32");
        this.#term(s.kind === "for" ? s.to : s.count);
        code.set(end).get(at).get(end).op("i32.lt_s");
        code.when(() => code.repeat(at, end, 1, () => this.write(s.body)));
        break;
      }
      case "addMultiple": {
        const factor = this.#real(s.factor);
        const factors = this.#splat(factor);
        this.#pairs(s.y, s.x, s.length, (vector, y, x) => {
          const shape = this.#shape;
          code.get(y);
          if (vector) {
            code.get(y).memory("v128.load").get(x).memory("v128.load");
            code.get(factors).op(`${shape}.mul`, `${shape}.add`).memory("v128.store");
          } else {
            code.get(y);
            this.#load();
            code.get(x);
            this.#load();
            code.get(factor).op("f64.mul", "f64.add");
            this.#store();
          }
        });
        break;
      }
      case "rotate": {
        const [cosine, sine] = [this.#real(s.cosine), this.#real(s.sine)];
        const [cosines, sines] = [this.#splat(cosine), this.#splat(sine)];
        const [v, w] = [code.local("v128"), code.local("v128")];
        const [p, q] = [code.local("f64"), code.local("f64")];
        this.#pairs(s.x, s.y, s.length, (vector, x, y) => {
          if (vector) {
            const shape = this.#shape;
            const term = (a: Local, factors: Local) => code.get(a).get(factors).op(`${shape}.mul`);
            code.get(x).memory("v128.load").set(v).get(y).memory("v128.load").set(w);
            code.get(x);
            term(v, cosines);
            term(w, sines);
            code.op(`${shape}.sub`).memory("v128.store").get(y);
            term(v, sines);
            term(w, cosines);
            code.op(`${shape}.add`).memory("v128.store");
          } else {
            code.get(x);
            this.#load();
            code.set(p).get(y);
            this.#load();
            code.set(q).get(x).get(p).get(cosine).op("f64.mul").get(q).get(sine).op("f64.mul", "f64.sub");
            this.#store();
            code.get(y).get(p).get(sine).op("f64.mul").get(q).get(cosine).op("f64.mul", "f64.add");
            this.#store();
          }
        });
        break;
      }
      default:
        s satisfies never;
    }
  }

  #real(term: Term): Local<"f64"> {
    const local = this.#code.local("f64");
    this.#term(term);
    this.#code.set(local);
    return local;
  }

  /** The same in all lanes. */
  #splat(factor: Local): Local<"v128"> {
    const code = this.#code;
    const factors = code.local("v128");
    code.get(factor);
    if (this.#shape === "f32x4") code.op("f32.demote_f64", "f32x4.splat");
    else code.op("f64x2.splat");
    code.set(factors);
    return factors;
  }

  /** Two runs of elements side by side: vectors, then what is left one by one. */
  #pairs(
    first: Term,
    second: Term,
    length: Term,
    body: (vector: boolean, x: Local<"i32">, y: Local<"i32">) => void,
  ): void {
    const code = this.#code;
    const { bytes } = this.#element;
    const [x, y, stop, whole] = [code.local("i32"), code.local("i32"), code.local("i32"), code.local("i32")];
    this.#address(first);
    code.set(x);
    this.#address(second);
    code.set(y);
    this.#term(length);
    code.i32(Math.log2(bytes)).op("i32.shl").set(stop);
    code.get(x).get(stop).i32(-16).op("i32.and", "i32.add").set(whole);
    code.get(x).get(stop).op("i32.add").set(stop);
    for (const [vector, end, step] of [
      [true, whole, 16],
      [false, stop, bytes],
    ] as const) {
      code.get(x).get(end).op("i32.lt_u");
      code.when(() =>
        code.loop((again) => {
          body(vector, x, y);
          code.get(y).i32(step).op("i32.add").set(y);
          code.get(x).i32(step).op("i32.add").tee(x).get(end).op("i32.lt_u");
          again("if");
        }),
      );
    }
  }

  #dot({ x, y, length }: Extract<Term, { kind: "dot" }>): void {
    const code = this.#code;
    const shape = this.#shape;
    const [lanes, sum] = [code.local("v128"), code.local("f64")];
    code.i32(0).op("i32x4.splat").set(lanes).f64(0).set(sum);
    this.#pairs(x, y, length, (vector, x, y) => {
      if (vector) {
        code.get(lanes).get(x).memory("v128.load").get(y).memory("v128.load");
        code.op(`${shape}.mul`, `${shape}.add`).set(lanes);
      } else {
        code.get(sum).get(x);
        this.#load();
        code.get(y);
        this.#load();
        code.op("f64.mul", "f64.add").set(sum);
      }
    });
    code.get(sum);
    for (let lane = 0; lane < 16 / this.#element.bytes; lane++) {
      code.get(lanes).lane(`${shape}.extract_lane`, lane);
      if (this.#element.widens) code.op("f64.promote_f32");
      code.op("f64.add");
    }
  }

  /** Pushes a value. */
  #term(term: Term): void {
    const code = this.#code;
    switch (term.kind) {
      case "number":
        if (term.type === "real") code.f64(term.value);
        else code.i32(term.value);
        break;
      case "local":
        code.get(this.#locals[term.index]!);
        break;
      case "load":
        this.#address(term.at);
        this.#load();
        break;
      case "dot":
        this.#dot(term);
        break;
      case "apply": {
        const { operator, args } = term;
        if (operator === "select") {
          this.#term(args[1]!);
          this.#term(args[2]!);
          this.#term(args[0]!);
          code.op("select");
          break;
        }
        for (const arg of args) this.#term(arg);
        const { type } = args[0]!;
        if (operator === "abs" && type === "int") {
          const held = code.local("i32");
          code.tee(held).i32(0).get(held).op("i32.sub").get(held).get(held).i32(0);
          code.op("i32.lt_s", "select").set(held).op("drop").get(held);
          break;
        }
        code.op((type === "real" ? reals : integers)[operator]!);
        break;
      }
      default:
        term satisfies never;
    }
  }
}

/** First the copy of what is given, then the program on each row. */
export function defineProcedure(module: Module, kernel: ProcedureKernel, given: Arguments): Phase[] {
  const { lane, position, initial, dtype, procedure } = kernel;
  const [{ value, index }] = kernel.stores;
  const store: Store = { value, index, expr: initial };
  const nest = nestOf({ grid: [lane, position], inner: [], accumulators: [], stores: [store] });
  const copy = defineStages(module, schedule(nest), given, "copy").phases;
  module.define("run", phaseTypes, (code, { begin, end, args }) => {
    const start = code.piece();
    const pointer = given.access(start, args).pointer(value);
    const row = code.local("i32");
    const unit = code.local("i32");
    const body = code.piece();
    new Procedures(body, row, kernel).write(procedure.code().statements);
    code.append(start);
    const bytes = position.extent * bytesPerElement(dtype);
    code.get(begin).set(unit).get(pointer).get(begin).i32(bytes).op("i32.mul", "i32.add").set(row);
    code.repeat(unit, end, 1, () => {
      code.append(body);
      code.get(row).i32(bytes).op("i32.add").set(row);
    });
  });
  return [...copy, { name: "run", units: lane.extent, cost: procedure.work }];
}
