import { ValueError } from "../../base/errors.ts";

/** Numeric hyperparameters by name; those of a pair as `stepSizes.0` and `stepSizes.1`. */
export type Numbers = ReadonlyMap<string, number>;

/** The numbers among hyperparameters. */
export function numbersOf(hyper: object): Numbers {
  const found = new Map<string, number>();
  for (const [name, value] of Object.entries(hyper) as [string, unknown][]) {
    if (typeof value === "number") found.set(name, value);
    else if (Array.isArray(value))
      value.forEach((x: unknown, i) => {
        if (typeof x === "number") found.set(`${name}.${i}`, x);
      });
  }
  for (const [name, value] of found) {
    if (!Number.isFinite(value))
      throw new ValueError(
        `discoverSymmetry: the hyperparameter ${name} is ${value}; it is a finite number.`,
      );
  }
  return found;
}

/** The hyperparameters with other numbers; a copy, so that the function may do with it as it likes. */
export function withNumbers<H extends object>(hyper: H, numbers: Numbers): H {
  const entries = Object.entries(hyper).map(([name, value]: [string, unknown]) => [
    name,
    Array.isArray(value)
      ? value.map((x: unknown, i) => numbers.get(`${name}.${i}`) ?? x)
      : (numbers.get(name) ?? value),
  ]);
  return Object.fromEntries(entries) as H; // the same names
}

/** The hyperparameter that a number belongs to. */
export function ownerOf(name: string): string {
  return name.replace(/\.\d+$/, "");
}
