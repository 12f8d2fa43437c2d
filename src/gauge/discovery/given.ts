import { ValueError } from "../../base/errors.ts";
import { isOptimizerName, make, type OptimizerConfig } from "../../optim/make.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { type Numbers, numbersOf, withNumbers } from "./numbers.ts";
import { Subject } from "./subject.ts";

/** The optimizer that is given, as a function of the numbers among its hyperparameters; and these. */
export function subjectOf<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  given: H | undefined,
): { readonly subject: Subject; readonly numbers: Numbers } {
  if (typeof optimizer === "function") {
    if (typeof given !== "object" || given === null)
      throw new ValueError(
        "discoverSymmetry: given a function, it also takes the hyperparameters: { hyper: { lr: 0.1, ... } }.",
      );
    const of = (numbers: Numbers) => optimizer(withNumbers(given, numbers));
    return { subject: new Subject(of, of(new Map()).name), numbers: numbersOf(given) };
  }
  const { name, defaults } = optimizer;
  if (!isOptimizerName(name)) {
    throw new ValueError(
      `discoverSymmetry: ${JSON.stringify(name)} is no optimizer of the library. Pass a function that makes it, and the hyperparameters: discoverSymmetry((hyper) => optimizer(hyper), { hyper: { lr: 0.1 } }).`,
    );
  }
  const hyper = { ...(defaults as object), ...given };
  const of = (numbers: Numbers) =>
    make({ name, ...withNumbers(hyper, numbers) } as unknown as OptimizerConfig) as Optimizer; // its own defaults
  return { subject: new Subject(of, name), numbers: numbersOf(hyper) };
}
