import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { stack } from "../../tensor/functions.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Build, Expectation } from "./case.ts";
import type { Reference } from "./fields.ts";

/** The least number of values to draw, of as many adapters as it takes. */
const least = 4096;

/**
 * Initial values of A, drawn with fixed keys: none beyond the bound of the uniform ones, the largest within 20 mean
 * gaps of it, and standard deviations within four times their own expected error, at most 1 / sqrt(2 n) of n values.
 */
export const buildLoraInitCase: Build = (fields, { dtype }) =>
  fields.objects("entries").flatMap((entry, i): Expectation[] => {
    const [fanIn, r] = [entry.number("fanIn"), entry.number("r")];
    const draws = Math.ceil(least / (fanIn * r));
    const n = draws * fanIn * r;
    const drawn = (init: "standard" | "gaussian"): Tensor => {
      const layer = lora.linear(nn.linear(fanIn, r, { bias: false, dtype }), { r, alpha: 1, init });
      return stack(
        Array.from({ length: draws }, (_, seed) => layer.init(random.key(seed)).loraA as Tensor), // of one layer
      );
    };
    const uniform = drawn("standard");
    const largest = uniform.abs().amax();
    const bound = entry.number("kaimingUniformBound");
    const deviates = (x: Tensor, expected: number) =>
      x
        .std()
        .sub(expected)
        .abs()
        .le((4 * expected) / Math.sqrt(2 * n));
    const holds = (what: string, actual: Tensor<"bool">): Expectation => ({
      what: `entry ${i}: ${what}`,
      actual,
      expected: yes,
      bound: { relative: 0, floor: 1 },
    });
    return [
      // The bound itself is rounded to float32 as the values are, up or down.
      holds(`all values are within ${bound}`, largest.le(bound * (1 + 2 ** -23))),
      holds(`the largest value is close to ${bound}`, largest.ge(bound * (1 - 20 / n))),
      holds("the standard deviation", deviates(uniform, entry.number("kaimingUniformStd"))),
      holds("the standard deviation of gaussian", deviates(drawn("gaussian"), entry.number("gaussianStd"))),
    ];
  });

const yes: Reference = { shape: [], dtype: "bool", data: Float64Array.of(1) };
