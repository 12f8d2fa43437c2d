import { ValueError } from "../../base/errors.ts";
import { isOptimizerName, make, type OptimizerConfig } from "../../optim/make.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { isTensor } from "../../tensor/tree.ts";

/** Numeric hyperparameters by path: `lr`, `adam.eps`; those of a list as `stepSizes.0` and `stepSizes.1`. */
export type Numbers = ReadonlyMap<string, number>;

/** What is looked at: how it is made from its numbers, these, and what else there is among its hyperparameters. */
export interface Given {
  readonly make: (numbers: Numbers) => Optimizer;
  readonly name: string;
  readonly numbers: Numbers;
  /** By path, what it is instead of a number. */
  readonly others: Readonly<Record<string, string>>;
}

/** The optimizer that is given, as a function of the numbers among its hyperparameters. */
export function givenOf<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  hyper: H | undefined,
): Given {
  if (typeof optimizer === "function") {
    if (typeof hyper !== "object" || hyper === null)
      throw new ValueError(
        "discoverSymmetry: given a function, it also takes the hyperparameters: { hyper: { lr: 0.1, ... } }.",
      );
    return {
      make: (numbers) => optimizer(withNumbers(hyper, numbers)),
      name: optimizer.name || "the optimizer",
      ...leavesOf(hyper),
    };
  }
  const { name, defaults } = optimizer;
  if (!isOptimizerName(name)) {
    throw new ValueError(
      `discoverSymmetry: ${JSON.stringify(name)} is no optimizer of the library. Pass a function that makes it, and the hyperparameters: discoverSymmetry((hyper) => optimizer(hyper), { hyper: { lr: 0.1 } }).`,
    );
  }
  const all = { ...(defaults as object), ...hyper };
  return {
    make: (numbers) =>
      make({ name, ...withNumbers(all, numbers) } as unknown as OptimizerConfig) as Optimizer, // its own defaults
    name,
    ...leavesOf(all),
  };
}

function leavesOf(hyper: object): Pick<Given, "numbers" | "others"> {
  const numbers = new Map<string, number>();
  const others: Record<string, string> = {};
  const visit = (value: unknown, path: string): void => {
    if (typeof value === "number") {
      if (Number.isNaN(value))
        throw new ValueError(`discoverSymmetry: the hyperparameter ${path} is NaN; it is a number.`);
      numbers.set(path, value);
    } else if (isBranch(value)) {
      for (const [key, child] of Object.entries(value)) visit(child, path ? `${path}.${key}` : key);
    } else if (value !== undefined) others[path] = `${kindOf(value)}, no number`;
  };
  visit(hyper, "");
  return { numbers, others };
}

/** The hyperparameters with other numbers; a copy, so that the function may do with it as it likes. */
function withNumbers<H>(hyper: H, numbers: Numbers, path = ""): H {
  if (typeof hyper === "number") return (numbers.get(path) ?? hyper) as H;
  if (!isBranch(hyper)) return hyper;
  const below = (child: unknown, key: string | number) =>
    withNumbers(child, numbers, path ? `${path}.${key}` : String(key));
  if (Array.isArray(hyper)) return hyper.map(below) as H; // the same items
  return Object.fromEntries(Object.entries(hyper).map(([key, child]) => [key, below(child, key)])) as H; // the same names
}

/** Lists and plain objects. */
function isBranch(value: unknown): value is object {
  if (typeof value !== "object" || value === null || isTensor(value)) return false;
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function kindOf(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (isTensor(value)) return "a tensor";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** The hyperparameter that a number belongs to: a pair's two are one. */
export function ownerOf(name: string): string {
  return name.replace(/\.\d+$/, "");
}
