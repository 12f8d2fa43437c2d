// What hyperparameters may be, for the rules of optimizers: `optim.fields.fraction(0.9)`.

export { betas, flag, fraction, nonNegative, optional, pair, required } from "./hyper.ts";
