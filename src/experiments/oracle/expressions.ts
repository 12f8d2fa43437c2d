import { linear } from "../../nn/functional.ts";
import { gelu, sigmoid, silu } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** Functions of several operations, by their text in the reference files (`attrs.expr`). */
export const composites: Readonly<Record<string, (...inputs: Tensor[]) => Tensor>> = {
  "x*tanh(x) + sum(x,1,keepdim)*x": (x) => x.mul(x.tanh()).add(x.sum(1, { keepdim: true }).mul(x)),
  "-mean_rows(sum(p*log_softmax(x,-1),-1))": (x, p) => p.mul(x.logSoftmax(-1)).sum(-1).mean().neg(),
  "mean(linear(gelu(linear(x,w,b)),w2,b2)^2)": (x, w, b, w2, b2) =>
    linear(gelu(linear(x, w, b)), w2, b2)
      .square()
      .mean(),
  "x/sqrt(sum(x^2,-1,keepdim)+1e-3)": (x) => x.div(x.square().sum(-1, { keepdim: true }).add(1e-3).sqrt()),
  "sqrt(cumsum(log1p(exp(2*sin(x))),0)^2)": (x) => x.sin().mul(2).exp().log1p().cumsum(0).square().sqrt(),
};

/** Scalar functions of x, and a constant, whose Hessians the reference files hold; by the same text. */
export const scalarFunctions: Readonly<Record<string, (x: Tensor, constant: Tensor) => Tensor>> = {
  "sum(exp(x)*x)": (x) => x.exp().mul(x).sum(),
  "sum(tanh(x)^3)": (x) => x.tanh().pow(3).sum(),
  "sum(log(sigmoid(x)))": (x) => sigmoid(x).log().sum(),
  "sum(gelu(x)^2)": (x) => gelu(x).square().sum(),
  "sum(silu(x)^2)": (x) => silu(x).square().sum(),
  "logsumexp(2*x)": (x) => x.mul(2).logsumexp(),
  "sum(softmax(x)^2)": (x) => x.softmax(-1).square().sum(),
  "sum(x[1:]/(1+x[:-1]^2))": (x) =>
    x
      .slice([1])
      .div(x.slice([0], [-1]).square().add(1))
      .sum(),
  "x^T K x * sum(x)": (x, k) => x.matmul(k).matmul(x).mul(x.sum()),
  "sum(w*(x*rsqrt(mean(x^2)+1e-3)))^2, w = row 0 of W": (x, w) =>
    w
      .slice([0], [1])
      .squeeze(0)
      .mul(x.mul(x.square().mean().add(1e-3).rsqrt()))
      .sum()
      .square(),
  "sum(sin(W x)*exp(-x_0))": (x, w) =>
    w
      .matmul(x)
      .sin()
      .mul(x.slice([0], [1]).neg().exp())
      .sum(),
};
