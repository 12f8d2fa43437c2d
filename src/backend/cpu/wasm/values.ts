import { bytesPerElement, coerce, type DeviceDType } from "../../../base/dtype.ts";
import type { Level } from "../../../compile/emit.ts";
import { type Expr, parts, walk } from "../../../compile/expr.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { fromHalfBits, roundToHalf } from "./half.ts";
import {
  bounded,
  hasScalar,
  hasVector,
  isPolynomial,
  laneShape,
  scalarOperation,
  valueType,
  vectorOperation,
} from "./operations.ts";
import { Lanes, type Push } from "./polynomials.ts";

/** The loop variable that four lanes run along. */
export interface VectorAxis {
  readonly name: string;
  readonly extent: number;
  /** No lane ever lies beyond the extent, so strided loads of all lanes stay inside the buffer. */
  readonly exact: boolean;
}

export interface Scope {
  readonly module: Module;
  /** Roots of all expressions of the function. */
  readonly roots: readonly Expr[];
  readonly levels: ReadonlyMap<string, Level>;
  /** Level of the accumulators. */
  readonly afterwards?: Level;
  readonly vector?: VectorAxis | undefined;
  /** Address of a value's first element. */
  readonly pointer: (value: number) => Local;
  /** Loop variables that several sets of values share. */
  readonly variables?: Map<string, Local>;
  /** Loads a host number. */
  readonly hostNumber: (index: number, dtype: DeviceDType) => Push;
}

/**
 * Writes expressions into the levels of a loop nest, as Emitter does for text: each level is a piece of code, and
 * what is used more than once, or can be computed further out than it is used, gets a local there.
 */
export class Values {
  readonly scope: Scope;
  /** Code at the start of each level, to be placed there when all is written. */
  readonly #pieces = new Map<Level, Code>();
  readonly #code: Code;
  readonly #uses = new Map<Expr, number>();
  readonly #levels = new Map<Expr, Level>();
  readonly #varying = new Map<Expr, boolean>();
  #scalars = new Map<Expr, Local>();
  /** Vectors that are the same in all lanes, and others by offset. */
  #splats = new Map<Expr, Local>();
  readonly #vectors = new Map<number, Map<Expr, Local>>();
  readonly #addresses = new Map<string, Local>();
  readonly #constants = new Map<string, Local>();
  readonly #variables: Map<string, Local>;
  readonly #accumulators = new Map<number, Local>();
  /** Added to the vector variable: which of several vectors in a row is written. */
  #offset = 0;

  constructor(code: Code, scope: Scope) {
    this.#code = code;
    this.scope = scope;
    this.#variables = scope.variables ?? new Map();
    for (const root of scope.roots) this.#uses.set(root, (this.#uses.get(root) ?? 0) + 1);
    walk(scope.roots, (e) => {
      for (const part of parts(e)) this.#uses.set(part, (this.#uses.get(part) ?? 0) + 1);
    });
  }

  /** The code of a level. */
  piece(level: Level): Code {
    let piece = this.#pieces.get(level);
    if (!piece) {
      piece = this.#code.piece();
      this.#pieces.set(level, piece);
    }
    return piece;
  }

  /** Starts a level anew: for another vector of the same loop, or its remainder. */
  restart(level: Level, offset = 0): Code {
    this.#offset = offset;
    const kept = (map: ReadonlyMap<Expr, Local>) => new Map([...map].filter(([e]) => this.level(e) < level));
    this.#scalars = kept(this.#scalars);
    this.#splats = kept(this.#splats);
    for (const [at, map] of this.#vectors) this.#vectors.set(at, kept(map));
    const piece = this.#code.piece();
    this.#pieces.set(level, piece);
    return piece;
  }

  #held(e: Expr): Map<Expr, Local> {
    if (!this.varies(e)) return this.#splats;
    let map = this.#vectors.get(this.#offset);
    if (!map) {
      map = new Map();
      this.#vectors.set(this.#offset, map);
    }
    return map;
  }

  variable(name: string): Local {
    let local = this.#variables.get(name);
    if (!local) {
      local = this.#code.local("i32");
      this.#variables.set(name, local);
    }
    return local;
  }

  setAccumulator(index: number, local: Local): void {
    this.#accumulators.set(index, local);
  }

  lanes(code: Code): Lanes {
    return new Lanes(code, this.piece(0), this.#constants);
  }

  level(e: Expr): Level {
    let level = this.#levels.get(e);
    if (level === undefined) {
      if (e.kind === "variable") level = this.scope.levels.get(e.name) ?? 0;
      else if (e.kind === "accumulator") level = this.scope.afterwards ?? 0;
      else level = parts(e).reduce((most, part) => Math.max(most, this.level(part)), 0);
      this.#levels.set(e, level);
    }
    return level;
  }

  /** Does the expression differ between lanes? */
  varies(e: Expr): boolean {
    if (!this.scope.vector) return false;
    let varying = this.#varying.get(e);
    if (varying === undefined) {
      if (e.kind === "variable") varying = e.name === this.scope.vector.name;
      else if (e.kind === "accumulator") varying = this.#accumulators.get(e.index)?.type === "v128";
      else varying = parts(e).some((part) => this.varies(part));
      this.#varying.set(e, varying);
    }
    return varying;
  }

  /** Pushes one element; what does not change at level `at` is computed further out. */
  scalar(e: Expr, code: Code, at: Level): void {
    const known = this.#scalars.get(e);
    if (known) {
      code.get(known);
      return;
    }
    const own = this.level(e);
    const simple = e.kind === "constant" || e.kind === "variable" || e.kind === "accumulator";
    if (simple || (own >= at && this.#uses.get(e) === 1)) {
      this.#writeScalar(e, code, at);
      return;
    }
    const local = this.#code.local(valueType(e.dtype));
    if (own < at) {
      const piece = this.piece(own);
      this.#writeScalar(e, piece, own);
      piece.set(local);
      code.get(local);
    } else {
      this.#writeScalar(e, code, own);
      code.tee(local);
    }
    this.#scalars.set(e, local);
  }

  /** Pushes four lanes; bools as masks. */
  vector(e: Expr, code: Code, at: Level): void {
    const known = this.#held(e).get(e);
    if (known) {
      code.get(known);
      return;
    }
    const uniform = !this.varies(e);
    const own = this.level(e);
    if (e.kind === "constant") {
      this.#constant(e.value, e.dtype, code)(code);
      return;
    }
    if (e.kind === "accumulator" && !uniform) {
      code.get(this.#accumulators.get(e.index)!);
      return;
    }
    const write = (into: Code, level: Level) =>
      uniform ? this.#splat(e, into, level) : this.#writeVector(e, into, level);
    if (own >= at && this.#uses.get(e) === 1 && !uniform) {
      write(code, at);
      return;
    }
    const local = this.#code.local("v128");
    if (own < at) {
      const piece = this.piece(own);
      write(piece, own);
      piece.set(local);
      code.get(local);
    } else {
      write(code, own);
      code.tee(local);
    }
    this.#held(e).set(e, local);
  }

  #constant(value: number, dtype: DeviceDType, code: Code): Push {
    const lanes = this.lanes(code);
    const exact = coerce(value, dtype);
    return dtype === "float32" ? lanes.f32(exact) : lanes.i32(dtype === "bool" ? -exact : exact);
  }

  #splat(e: Expr, code: Code, at: Level): void {
    if (e.dtype === "bool") code.i32(0);
    this.scalar(e, code, at);
    if (e.dtype === "bool") code.op("i32.sub");
    code.op(`${laneShape(e.dtype)}.splat`);
  }

  #writeScalar(e: Expr, code: Code, at: Level): void {
    switch (e.kind) {
      case "constant": {
        const value = coerce(e.value, e.dtype);
        if (e.dtype === "float32") code.f32(value);
        else if (e.dtype === "float64") code.f64(value);
        else code.i32(value);
        break;
      }
      case "hostNumber":
        this.scope.hostNumber(e.index, e.dtype)(code);
        break;
      case "load": {
        const { base, offset } = this.address(e.value, e.index, e.dtype, at);
        base(code);
        if (e.dtype === "float16") {
          code.memory("i32.load16_s", offset).op("i32x4.splat");
          this.#firstLane(code, fromHalfBits);
        } else code.memory(`${valueType(e.dtype)}.load`, offset);
        break;
      }
      case "accumulator":
        code.get(this.#accumulators.get(e.index)!);
        break;
      case "variable":
        code.get(this.variable(e.name));
        break;
      case "apply":
        this.#applyScalar(e, code, at);
        break;
      case "cast":
        this.scalar(e.arg, code, at);
        if (e.dtype === "float16") {
          code.op("f32x4.splat");
          this.#firstLane(code, roundToHalf);
        } else castScalar(code, e.arg.dtype, e.dtype);
        break;
      case "sum":
        this.#sum(e, code, at);
        break;
      case "digit": {
        this.scalar(e.arg, code, at);
        if (e.low !== 1) code.i32(e.low).op("i32.div_u");
        if (e.high !== Infinity) code.i32(e.high / e.low).op("i32.rem_u");
        break;
      }
      case "clamp": {
        const x = this.#code.local("i32");
        this.scalar(e.arg, code, at);
        code.tee(x).i32(0).get(x).i32(0).op("i32.gt_s", "select").tee(x);
        code
          .i32(e.length - 1)
          .get(x)
          .i32(e.length - 1)
          .op("i32.lt_s", "select");
        break;
      }
      case "inRange":
        this.scalar(e.arg, code, at);
        code.i32(e.length).op("i32.lt_u");
        break;
      default:
        e satisfies never;
    }
  }

  /** One number by a function of vectors, of the vector on the stack. */
  #firstLane(code: Code, f: (lanes: Lanes, x: Push) => Push): void {
    f(this.lanes(code), () => {})(code);
    code.lane("f32x4.extract_lane", 0);
  }

  #applyScalar(e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
    const { row, args } = e;
    const dtype = args[args.length - 1]!.dtype;
    if (isPolynomial(row, dtype)) {
      // One lane of the vector function, so that values are the same everywhere.
      const lanes = this.lanes(code);
      const held = args.map((arg) =>
        lanes.hold((into) => {
          this.scalar(arg, into, at);
          into.op("f32x4.splat");
        }),
      );
      vectorOperation(lanes, row, dtype, held)(code);
      code.lane("f32x4.extract_lane", 0);
      return;
    }
    if (row.name === "where") {
      this.scalar(args[1]!, code, at);
      this.scalar(args[2]!, code, at);
      this.scalar(args[0]!, code, at);
      code.op("select");
      return;
    }
    if (!hasScalar(row, dtype)) {
      for (let i = 0; i < 3; i++) {
        const arg = args[i];
        if (!arg) code.f64(0);
        else {
          this.scalar(arg, code, at);
          castScalar(code, arg.dtype, "float64");
        }
      }
      code.call(importRow(this.scope.module, row.name));
      castScalar(code, "float64", e.dtype);
      return;
    }
    for (const arg of args) this.scalar(arg, code, at);
    scalarOperation(code, row, dtype);
  }

  #writeVector(e: Expr, code: Code, at: Level): void {
    const lanes = this.lanes(code);
    switch (e.kind) {
      case "load":
        this.#loadVector(e, code, at);
        break;
      case "apply": {
        const dtype = e.args[e.args.length - 1]!.dtype;
        if (!hasVector(e.row, dtype)) {
          this.#applyLanes(e, code, at);
          break;
        }
        if (e.row.name === "leftShift" || e.row.name === "rightShift") {
          this.#shift(e, code, at);
          break;
        }
        const bound = dtype === "float32" ? e.args.findIndex(({ kind }) => kind === "constant") : -1;
        const [x, constant] = [e.args[1 - bound], e.args[bound]];
        if (x && constant?.kind === "constant" && e.args.length === 2) {
          const push = bounded(
            lanes,
            e.row,
            (into) => this.vector(x, into, at),
            coerce(constant.value, dtype),
          );
          if (push) {
            push(code);
            break;
          }
        }
        // Plain operations take their arguments from the stack; others push them more than once.
        const held = e.args.map((arg): Push => {
          const cheap = arg.kind === "constant" || this.#held(arg).has(arg);
          if (cheap || simple.has(e.row.name)) return (into) => this.vector(arg, into, at);
          return lanes.hold((into) => this.vector(arg, into, at));
        });
        if (e.row.name === "where") for (const i of [1, 2, 0]) held[i]!(code);
        if (e.row.name === "where") code.op("v128.bitselect");
        else vectorOperation(lanes, e.row, dtype, held)(code);
        break;
      }
      case "cast":
        this.#castVector(e.arg, e.dtype, code, at);
        break;
      case "variable": {
        const { extent, exact } = this.scope.vector!;
        code.get(this.variable(e.name)).op("i32x4.splat");
        const o = this.#offset;
        lanes.i32s(o, o + 1, o + 2, o + 3)(code);
        code.op("i32x4.add");
        if (!exact) {
          lanes.i32(extent - 1)(code);
          code.op("i32x4.min_s");
        }
        break;
      }
      case "sum": {
        lanes.i32(e.constant)(code);
        for (const { coefficient, atom } of e.terms) {
          this.vector(atom, code, at);
          if (coefficient !== 1) {
            lanes.i32(coefficient)(code);
            code.op("i32x4.mul");
          }
          code.op("i32x4.add");
        }
        break;
      }
      case "digit":
        this.#digitVector(e, code, at);
        break;
      case "clamp":
        this.vector(e.arg, code, at);
        lanes.i32(0)(code);
        code.op("i32x4.max_s");
        lanes.i32(e.length - 1)(code);
        code.op("i32x4.min_s");
        break;
      case "inRange":
        this.vector(e.arg, code, at);
        lanes.i32(e.length)(code);
        code.op("i32x4.lt_u");
        break;
      case "constant":
      case "hostNumber":
      case "accumulator":
        throw new Error(`internal: ${e.kind} as a vector`);
      default:
        e satisfies never;
    }
  }

  #shift(e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
    const [x, by] = e.args as [Expr, Expr];
    if (this.varies(by)) {
      this.#applyLanes(e, code, at);
      return;
    }
    this.vector(x, code, at);
    this.scalar(by, code, at);
    code.op(e.row.name === "leftShift" ? "i32x4.shl" : `i32x4.shr${x.dtype === "uint32" ? "_u" : "_s"}`);
  }

  /** Each lane by scalar code: extract, compute, put together. */
  #applyLanes(e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
    const dtype = e.args[e.args.length - 1]!.dtype;
    const args = e.args.map((arg) => ({
      dtype: arg.dtype,
      push: this.lanes(code).hold((into) => this.vector(arg, into, at)),
    }));
    this.#perLane(e.dtype, code, (lane) => {
      for (const { dtype: type, push } of args) {
        push(code);
        code.lane(`${laneShape(type)}.extract_lane`, lane);
        if (type === "bool") code.i32(1).op("i32.and");
        if (!hasScalar(e.row, dtype)) castScalar(code, type, "float64");
      }
      if (hasScalar(e.row, dtype)) scalarOperation(code, e.row, dtype);
      else {
        for (let i = args.length; i < 3; i++) code.f64(0);
        code.call(importRow(this.scope.module, e.row.name));
        castScalar(code, "float64", e.dtype);
      }
    });
  }

  #perLane(dtype: DeviceDType, code: Code, write: (lane: number) => void): void {
    const shape = laneShape(dtype);
    const lane = (i: number) => {
      write(i);
      if (dtype === "bool") code.i32(-1).op("i32.mul");
    };
    lane(0);
    code.op(`${shape}.splat`);
    for (let i = 1; i < 4; i++) {
      lane(i);
      code.lane(`${shape}.replace_lane`, i);
    }
  }

  #digitVector(e: Extract<Expr, { kind: "digit" }>, code: Code, at: Level): void {
    const modulus = e.high / e.low;
    if (isPowerOfTwo(e.low) && (modulus === Infinity || isPowerOfTwo(modulus))) {
      this.vector(e.arg, code, at);
      if (e.low > 1) code.i32(Math.log2(e.low)).op("i32x4.shr_u");
      if (modulus !== Infinity) {
        this.lanes(code).i32(modulus - 1)(code);
        code.op("v128.and");
      }
      return;
    }
    const arg = this.lanes(code).hold((into) => this.vector(e.arg, into, at));
    this.#perLane("int32", code, (lane) => {
      arg(code);
      code.lane("i32x4.extract_lane", lane);
      if (e.low !== 1) code.i32(e.low).op("i32.div_u");
      if (modulus !== Infinity) code.i32(modulus).op("i32.rem_u");
    });
  }

  #castVector(arg: Expr, to: DeviceDType, code: Code, at: Level): void {
    const lanes = this.lanes(code);
    const from = arg.dtype;
    if (to === "float16") {
      roundToHalf(lanes, (into) => this.vector(arg, into, at))(code);
      return;
    }
    if (from === "float32" && (to === "int32" || to === "uint32")) {
      const held = lanes.hold((into) => this.vector(arg, into, at));
      this.#perLane(to, code, (lane) => {
        held(code);
        code.lane("f32x4.extract_lane", lane).wrapToInteger("f32");
      });
      return;
    }
    this.vector(arg, code, at);
    if (to === "bool") {
      lanes.i32(0)(code);
      code.op(from === "float32" ? "f32x4.ne" : "i32x4.ne");
    } else if (from === "bool") {
      (to === "float32" ? lanes.f32(1) : lanes.i32(1))(code);
      code.op("v128.and");
    } else if (to === "float32" && from !== "float16")
      code.op(from === "int32" ? "f32x4.convert_i32x4_s" : "f32x4.convert_i32x4_u");
  }

  /** How far apart neighbouring lanes of an index are, or undefined where that is not one number. */
  stride(index: Expr): number | undefined {
    const { vector } = this.scope;
    if (!vector || !this.varies(index)) return 0;
    if (index.kind === "variable") return 1;
    if (index.kind !== "sum") return undefined;
    let stride: number | undefined;
    for (const { coefficient, atom } of index.terms) {
      if (!this.varies(atom)) continue;
      if (atom.kind !== "variable") return undefined;
      stride = coefficient;
    }
    return stride;
  }

  #loadVector(e: Extract<Expr, { kind: "load" }>, code: Code, at: Level): void {
    const half = e.dtype === "float16";
    if (half) fromHalfBits(this.lanes(code), (into) => this.#loadLanes(e, into, at))(code);
    else this.#loadLanes(e, code, at);
    if (e.dtype === "bool") {
      this.lanes(code).i32(0)(code);
      code.op("i32x4.ne");
    }
  }

  /** Four elements as they are stored; those of 16 bits in words. */
  #loadLanes(e: Extract<Expr, { kind: "load" }>, code: Code, at: Level): void {
    const bytes = bytesPerElement(e.dtype);
    const stride = this.stride(e.index);
    if (stride === 1) {
      const { base, offset } = this.address(e.value, e.index, e.dtype, at);
      base(code);
      code.memory(bytes === 2 ? "v128.load16x4_s" : "v128.load", offset);
    } else if (stride !== undefined && this.scope.vector!.exact) {
      // Lanes at constant distances.
      const { base, offset } = this.address(e.value, e.index, e.dtype, at);
      const held = this.#code.local("i32");
      base(code);
      if (offset > 0) code.i32(offset).op("i32.add");
      code.set(held);
      this.#eachLane(code, bytes, (lane) => {
        code.get(held);
        if (lane > 0) code.i32(bytes * stride * lane).op("i32.add");
      });
    } else {
      const index = this.lanes(code).hold((into) => this.vector(e.index, into, at));
      const pointer = this.scope.pointer(e.value);
      this.#eachLane(code, bytes, (lane) => {
        code.get(pointer);
        index(code);
        code.lane("i32x4.extract_lane", lane).i32(Math.log2(bytes)).op("i32.shl", "i32.add");
      });
    }
  }

  /** Loads each lane from its own address. */
  #eachLane(code: Code, bytes: number, address: (lane: number) => void): void {
    address(0);
    if (bytes === 2) code.memory("i32.load16_s").op("i32x4.splat");
    else code.memory("v128.load32_splat");
    if (bytes === 2) {
      for (let lane = 1; lane < 4; lane++) {
        address(lane);
        code.memory("i32.load16_s").lane("i32x4.replace_lane", lane);
      }
      return;
    }
    const value = this.#code.local("v128");
    code.set(value);
    for (let lane = 1; lane < 4; lane++) {
      address(lane);
      code.get(value).memory("v128.load32_lane", 0, lane).set(value);
    }
    code.get(value);
  }

  /**
   * The address of an element, or of its first lane: pointer and terms are added up at the levels where they are
   * known, so that inner loops only add what changes in them.
   */
  address(
    value: number,
    index: Expr,
    dtype: DeviceDType,
    at: Level,
  ): { readonly base: Push; readonly offset: number } {
    const bytes = bytesPerElement(dtype);
    const terms = index.kind === "sum" ? index.terms : [{ coefficient: 1, atom: index }];
    const constant = index.kind === "sum" ? index.constant : 0;
    const stride = this.scope.vector ? (this.stride(index) ?? 0) : 0;
    // Small constants go into the instruction: no buffer begins below them, so bases do not fall below 0.
    const constantBytes = (constant + stride * this.#offset) * bytes;
    const fits = constantBytes >= 0 && constantBytes < 1024;
    const [offset, rest] = fits ? [constantBytes, 0] : [0, constantBytes];
    const levels = [...new Set(terms.map(({ atom }) => this.level(atom)))].sort((a, b) => a - b);
    if (levels[0] !== 0 && rest !== 0) levels.unshift(0);
    let base = this.scope.pointer(value);
    let key = `${value},${bytes},${rest}`;
    const write = (into: Code, level: Level) => {
      into.get(base);
      if (level === 0 && rest !== 0) into.i32(rest).op("i32.add");
      for (const { coefficient, atom } of terms) {
        if (this.level(atom) !== level) continue;
        this.scalar(atom, into, level);
        const factor = coefficient * bytes;
        if (factor > 0 && isPowerOfTwo(factor)) into.i32(Math.log2(factor)).op("i32.shl");
        else into.i32(factor).op("i32.mul");
        into.op("i32.add");
      }
    };
    for (const level of levels) {
      if (level >= at) return { base: (into) => write(into, level), offset };
      key += `;${level}:${terms
        .filter(({ atom }) => this.level(atom) === level)
        .map(({ coefficient, atom }) => `${coefficient}*${atom.id}`)
        .join()}`;
      let local = this.#addresses.get(key);
      if (!local) {
        local = this.#code.local("i32");
        const piece = this.piece(level);
        write(piece, level);
        piece.set(local);
        this.#addresses.set(key, local);
      }
      base = local;
    }
    const result = base;
    return { base: (into) => into.get(result), offset };
  }

  #sum(e: Extract<Expr, { kind: "sum" }>, code: Code, at: Level): void {
    let first = true;
    const append = (write: () => void) => {
      write();
      if (!first) code.op("i32.add");
      first = false;
    };
    for (const { coefficient, atom } of e.terms) {
      append(() => {
        this.scalar(atom, code, at);
        if (coefficient !== 1) code.i32(coefficient).op("i32.mul");
      });
    }
    if (e.constant !== 0 || first) append(() => code.i32(e.constant));
  }
}

/** Operations whose arguments are pushed once, in order. */
const simple = new Set([
  ..."add sub mul div maximum minimum neg abs sqrt floor ceil round where".split(" "),
  ..."eq ne lt le gt ge bitwiseAnd bitwiseOr bitwiseXor bitcast isFinite".split(" "),
]);

function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(Math.log2(x));
}

/** The row's evaluation in JavaScript: three float64 to one. */
function importRow(module: Module, name: string): number {
  return module.import(name, { params: ["f64", "f64", "f64"], results: ["f64"] });
}

/** Rows that expressions call in JavaScript, to be imported before functions are defined. */
export function importRows(module: Module, roots: readonly Expr[]): void {
  walk(roots, (e) => {
    if (e.kind !== "apply") return;
    const dtype = e.args[e.args.length - 1]!.dtype;
    if (!hasScalar(e.row, dtype)) importRow(module, e.row.name);
  });
}

function castScalar(code: Code, from: DeviceDType, to: DeviceDType): void {
  if (from === to) return;
  const source = valueType(from);
  switch (to) {
    case "float32":
      if (from === "float16") break;
      if (from === "float64") code.op("f32.demote_f64");
      else code.op(from === "int32" ? "f32.convert_i32_s" : "f32.convert_i32_u");
      break;
    case "float64":
      if (from === "float32") code.op("f64.promote_f32");
      else code.op(from === "int32" ? "f64.convert_i32_s" : "f64.convert_i32_u");
      break;
    case "bool":
      if (source === "f32") code.f32(0).op("f32.ne");
      else if (source === "f64") code.f64(0).op("f64.ne");
      else code.i32(0).op("i32.ne");
      break;
    default:
      if (source !== "i32") code.wrapToInteger(source as "f32" | "f64"); // the only types that are left
  }
}
