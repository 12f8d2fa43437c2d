import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { compile } from "../../tensor/compile.ts";
import { valueAndGrad } from "../../tensor/grad.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

/**
 * Multiply-adds a token, half the floating-point operations, that one N x N matrix costs in a step of training all weights,
 * or adapters of rank R on frozen ones: counted in compiled programs, as what one more matrix in a chain adds.
 */
export async function multiplyAdds(N: number, R: number | undefined, tokens = 64): Promise<number> {
  const chain = async (length: number): Promise<number> => {
    const base = nn.sequential(
      Object.fromEntries(
        Array.from({ length }, (_, i) => [String.fromCharCode(97 + i), nn.linear(N, N, { bias: false })]),
      ),
    );
    const model = R === undefined ? base : lora.inject(base, { r: R, alpha: R, targetModules: "all-linear" });
    const params = await tree.evaluate(model.init(random.key(0)));
    const [own, frozen] = R === undefined ? [params, {}] : lora.partition(params);
    const step = compile((own: nn.Params, frozen: nn.Params, x: Tensor) => {
      const lossOf = (trained: nn.Params) =>
        model.apply(tree.combine<nn.Params>(frozen, trained), x).square().sum() as Tensor;
      return valueAndGrad(lossOf)(own)[1];
    });
    const { work } = await step.plan(
      own as never,
      frozen as never,
      random.normal(random.key(1), [tokens, N]),
    );
    tree.dispose(params);
    return work.flops;
  };
  return ((await chain(3)) - (await chain(2))) / (2 * tokens);
}
