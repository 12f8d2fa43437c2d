export * as accountant from "./accountant.ts";
export type { Claim, Context, Source } from "./claims/claim.ts";
export { claims } from "./claims/registry.ts";
export { type Result, type RunOptions, testClaims } from "./claims/run.ts";
export {
  type Axis,
  type Check,
  type Expectation,
  type Outcome,
  type Outcomes,
  outcome,
  outcomes,
  type Verdict,
  verdict,
} from "./claims/verdict.ts";
export {
  type Exponent,
  type ExponentOptions,
  type ExponentPoint,
  exponent,
  fitExponent,
  type Over,
  type Quantity,
  type QuantityName,
} from "./exponents/exponent.ts";
export { type Agreement, judge, judgedConfidence } from "./exponents/judge.ts";
export type { RateChoice } from "./exponents/rates.ts";
export { defaultSetting, type Inputs, type Setting, type Start } from "./exponents/setting.ts";
export { type Estimate, estimate, fitLine, type Interval, type Line, share } from "./exponents/statistics.ts";
export type { Prediction } from "./exponents/theory.ts";
export { type OpResult, passes, selfTest } from "./selftest.ts";
