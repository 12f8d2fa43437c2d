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
export { judge, type Verdict } from "./exponents/judge.ts";
export type { RateChoice } from "./exponents/rates.ts";
export { defaultSetting, type Inputs, type Setting, type Start } from "./exponents/setting.ts";
export { type Estimate, estimate, fitLine, type Interval, type Line, share } from "./exponents/statistics.ts";
