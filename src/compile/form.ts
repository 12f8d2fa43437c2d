import { getOrInsert } from "../base/group.ts";
import { type Expr, walk } from "./expr.ts";
import { expressionsOf, type Kernel } from "./kernel.ts";
import type { Accumulator, Axis, Statement, Store } from "./nest.ts";
import type { ValueId } from "./value.ts";

/** A kernel but for whose values and host numbers it is of. */
export interface Form {
  /** These are numbered in the order in which they are met. */
  readonly text: string;
  /** The host numbers in that order. */
  readonly hostNumbers: readonly number[];
}

/**
 * Kernels with forms of one text differ in whose values and host numbers they are of, and what is printed of one goes for all:
 * the layers of a model, say.
 */
export function formOf(kernel: Kernel): Form {
  const lines: string[] = [];
  const values = new Map<ValueId, number>();
  const hostNumbers = new Map<number, number>();
  const loops = new Map<readonly Axis[], number>();
  const places = new Map<Expr, number>();
  const at = (e: Expr) => places.get(e)!;
  walk(expressionsOf(kernel), (e) => {
    places.set(e, places.size);
    lines.push(`${describe(e)}:${e.dtype}`);
  });
  function describe(e: Expr): string {
    switch (e.kind) {
      case "constant":
        return Object.is(e.value, -0) ? "-0" : `${e.value}`;
      case "hostNumber":
        return `host ${numberOf(e.index, hostNumbers)}`;
      case "load":
        return `load ${numberOf(e.value, values)} ${at(e.index)}`;
      case "accumulator":
        return `result ${e.index}`;
      case "apply":
        return `${e.row.name} ${e.args.map(at)}`;
      case "cast":
        return `cast ${at(e.arg)}`;
      case "variable":
        return `${e.name} of ${e.extent}`;
      case "sum":
        return `sum ${e.terms.map(({ coefficient, atom }) => `${coefficient}*${at(atom)}`)} ${e.constant}`;
      case "digit":
        return `digit ${at(e.arg)} ${e.low} ${e.high}`;
      case "clamp":
      case "inRange":
        return `${e.kind} ${at(e.arg)} ${e.length}`;
      default:
        return e satisfies never;
    }
  }
  const store = ({ value, index, expr, part }: Store): string => {
    const over = part && (part.over === undefined ? "part" : `over ${numberOf(part.over, values)}`);
    return `${numberOf(value, values)}[${at(index)}]=${at(expr)} ${over ?? ""}`;
  };
  const axes = (list: readonly Axis[]) => list.map(({ name, extent }) => `${name} of ${extent}`).join();
  const accumulators = (list: readonly Accumulator[]) =>
    list.map(({ index, name, dtype, expr }) => `${index} ${name} ${dtype} ${at(expr)}`).join();
  const statement = (s: Statement): string => {
    switch (s.kind) {
      case "for": {
        const share = s.share ? `${axes([s.share.part])} by ${s.share.length}` : "";
        // Whether two loops run over the very same axes is what makes them loops over a row.
        return `for ${numberOf(s.over, loops)} ${axes(s.over)} ${share} {${s.body.map(statement).join(";")}}`;
      }
      case "accumulate":
      case "keep":
        return `${s.kind} ${accumulators(s.accumulators)}`;
      case "combine":
        return `combine ${axes(s.over)} ${accumulators(s.accumulators)}`;
      case "write":
        return s.stores.map(store).join();
      case "at":
        return `at ${axes([s.axis])} ${at(s.index)} {${s.body.map(statement).join(";")}}`;
      default:
        return s satisfies never;
    }
  };
  switch (kernel.kind) {
    case "nest":
      lines.push(`${axes(kernel.grid)} {${kernel.body.map(statement).join(";")}}`);
      break;
    case "matmul": {
      const { dtype, batch, row, column, inner, a, b, stores } = kernel;
      lines.push(
        `matmul ${dtype} ${axes([batch, row, column, inner])} ${at(a)} ${at(b)}`,
        ...stores.map(store),
      );
      break;
    }
    case "procedure": {
      const { dtype, procedure, fiber, position, initial, stores } = kernel;
      lines.push(
        `${procedure.text} ${dtype} ${axes([fiber, position])} ${at(initial)}`,
        ...stores.map(store),
      );
      break;
    }
    default:
      kernel satisfies never;
  }
  return { text: lines.join("\n"), hostNumbers: [...hostNumbers.keys()] };
}

const numberOf = <K>(key: K, numbers: Map<K, number>): number =>
  getOrInsert(numbers, key, () => numbers.size);
