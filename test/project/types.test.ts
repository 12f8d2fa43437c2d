import { expect, expectTypeOf, test } from "vitest";
import type { DType } from "../../src/base/dtype.ts";
import * as gauge from "../../src/gauge/index.ts";
import type { ScalarRow } from "../../src/graph/node.ts";
import { compile, grad, type Tensor, tensor, tree, valueAndGrad, where, zeros } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import * as random from "../../src/tensor/random.ts";

// What types promise: `npm run typecheck` is what fails here.

const any: Tensor = tensor([1]);
const int = tensor([1], { dtype: "int32" });

test("a tensor of unknown dtype goes beside one of a known, another dtype does not", () => {
  expectTypeOf(zeros([3]).add(any)).toEqualTypeOf<Tensor<"float32">>();
  expectTypeOf(any.add(zeros([1]))).toEqualTypeOf<Tensor>();
  expectTypeOf(zeros([3]).mul(where(any.gt(0), 1, 0))).toEqualTypeOf<Tensor<"float32">>();
  zeros([3])
    .add(tensor([1]))
    .mul(2);
  // @ts-expect-error int32 beside float32
  void (() => zeros([3]).add(int));
  // @ts-expect-error
  void (() => zeros([3, 1]).matmul(int));
});

test("values are typed by their dtype", () => {
  expectTypeOf(int.data).returns.resolves.toEqualTypeOf<Int32Array>();
  expectTypeOf(zeros([1]).data).returns.resolves.toEqualTypeOf<Float32Array>();
  expectTypeOf(any.gt(0).data).returns.resolves.toEqualTypeOf<Uint32Array>();
});

test("tensors are typed by what they are made of", () => {
  const typed = <D extends DType>(x: Tensor<D>, dtype: NoInfer<D>) => expect(x.dtype).toBe(dtype);
  typed(tensor(1), "float32");
  typed(tensor([[1, 2]]), "float32");
  typed(tensor([1], { dtype: "int32" }), "int32");
  typed(tensor(true), "bool");
  typed(tensor([[true], [false]]), "bool");
  typed(tensor([true, false], { dtype: "float32" }), "float32");
  typed(tensor(new Float32Array(2)), "float32");
  typed(tensor(new Float64Array(2)), "float64");
  typed(tensor(new Int32Array(4), { shape: [2, 2] }), "int32");
  typed(tensor(new Uint32Array(2)), "uint32");
  typed(tensor(new Int32Array(2), { dtype: "float32" }), "float32");
});

test("parameters are typed by the layers, and an interface is a tree of parameters", () => {
  const net = nn.module(
    { fc1: nn.linear(2, 3), out: nn.sequential({ last: nn.linear(3, 1) }) },
    ({ fc1, out }, x) => out(fc1(x)),
  );
  const params = net.init(random.key(0));
  expectTypeOf(params.fc1.weight).toEqualTypeOf<Tensor>();
  expectTypeOf(params.out.last.bias).toEqualTypeOf<Tensor | undefined>();
  expectTypeOf(nn.mlp([2, 1]).init(random.key(0)).fc1?.weight).toEqualTypeOf<Tensor | undefined>();
  const general: nn.Layer = net;
  const whole: nn.Params = params;
  general.apply(whole, zeros([1, 2]));
  interface Mine {
    readonly fc1: { readonly weight: Tensor; readonly bias: Tensor };
    readonly out: { readonly last: { readonly weight: Tensor } };
  }
  const mine = params as Mine;
  net.apply(mine, zeros([1, 2]));
  const loss = (p: Mine) => p.fc1.weight.sum();
  void ((model: lora.Adapted, g: gauge.Gauge) => {
    expectTypeOf(grad(loss)(mine)).toEqualTypeOf<Mine>();
    expectTypeOf(valueAndGrad(loss)(mine)).toEqualTypeOf<[Tensor, Mine]>();
    expectTypeOf(compile((p: Mine) => p)(mine)).toEqualTypeOf<Promise<Mine>>();
    const optimizer = optim.adam({ lr: 1 });
    const [updates] = optimizer.update(mine, optimizer.init(mine), mine);
    expectTypeOf(optim.applyUpdates(mine, updates)).toEqualTypeOf<Mine>();
    expectTypeOf(tree.map(mine, (x) => x)).toEqualTypeOf<Mine>();
    expectTypeOf(lora.partition(mine)).toEqualTypeOf<[Mine, Mine]>();
    expectTypeOf(lora.attenuate(model, mine, 1)).toEqualTypeOf<Mine>();
    expectTypeOf(gauge.applyParams(g, mine)).toEqualTypeOf<Mine>();
    for (const made of [
      lora.merge(model, mine),
      lora.unmerge(model, mine, mine),
      model.init(random.key(0), mine),
    ])
      expectTypeOf(made).toEqualTypeOf<nn.Params>();
    lora.merge(model, tree.combine(mine, mine));
    nn.summary(model, mine, zeros([1]));
    // @ts-expect-error a text is no parameter
    lora.merge(model, { fc1: { weight: "none" } });
  });
});

test("a row that no backend has code for says what it is made of", () => {
  const known = { arity: 1, types: "float", evaluate: Math.abs, ulp: 0 } as const;
  void ({ name: "abs", ...known } satisfies ScalarRow);
  void ({ name: "atan", ...known, expand: (x) => x! } satisfies ScalarRow);
  // @ts-expect-error neither a primitive nor made of others
  void ({ name: "atan", ...known } satisfies ScalarRow);
});
