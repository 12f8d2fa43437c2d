import { ValueError } from "../../base/errors.ts";
import { crossEntropy } from "../../nn/losses.ts";
import { atan2 } from "../../tensor/angles.ts";
import { eye } from "../../tensor/creation.ts";
import { gelu, where } from "../../tensor/functions.ts";
import { grad, vjp } from "../../tensor/grad.ts";
import { hessian, hvp, jacfwd, jacrev, jvp } from "../../tensor/jacobian.ts";
import { slogdet } from "../../tensor/linalg.ts";
import { cumprod } from "../../tensor/scans.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { vmap } from "../../tensor/vmap.ts";
import { type Build, type Expectation, Unsupported } from "./case.ts";
import { boundOf } from "./compare.ts";
import { type Reference, toTensor } from "./fields.ts";

type Function = (x: Tensor, ...constants: readonly Tensor[]) => Tensor;

const rosenbrock: Function = (x) => {
  const [head, tail] = [x.slice([0], [-1]), x.slice([1])];
  return head.neg().add(1).square().add(tail.sub(head.square()).square().mul(4)).sum();
};

/** Functions of x and constants, by their text in the reference files (`attrs.expr`). */
const functions: Readonly<Record<string, Function>> = {
  "tanh(matmul(W, x)); constants W": (x, w) => w!.matmul(x).tanh(),
  "softmax(x, 0)": (x) => x.softmax(0),
  "logsumexp(x, 0) + sum(x * matmul(K, x)) / 2; constants K": (x, k) =>
    x.logsumexp(0).add(x.mul(k!.matmul(x)).sum().div(2)),
  "cumprod(1 + x / 4, 0)": (x) => cumprod(x.div(4).add(1), 0),
  "x / sqrt(sum(x^2) + 1)": (x) => x.div(x.square().sum().add(1).sqrt()),
  "outer(sin(x), cos(x))": (x) => x.sin().outer(x.cos()),
  "matmul(V, gelu(matmul(W, x))); constants W, V; the exact gelu": (x, w, v) => v!.matmul(gelu(w!.matmul(x))),
  "sum((1 - x[:-1])^2 + 4 * (x[1:] - x[:-1]^2)^2)": rosenbrock,
  "log(1 + sum(x^2, axis 1)); x is a matrix": (x) => x.square().sum(1).log1p(),
  "exp(matmul(x, x^T) / 8); x is a matrix": (x) => x.matmul(x.transpose()).div(8).exp(),
  "atan2(x[1:], 2 + x[:-1]^2)": (x) => atan2(x.slice([1]), x.slice([0], [-1]).square().add(2)),
  "log|det(matmul(K, K^T) + I + outer(x, x))|; constants K": (x, k) =>
    slogdet(
      k!
        .matmul(k!.transpose())
        .add(eye(x.size).astype(x.dtype as "float32") as Tensor)
        .add(x.outer(x)),
    ).logabsdet,
  "where(x > 0, x^3, sin(x))": (x) => where(x.gt(0), x.pow(3), x.sin()),
};

const rowwise = "sum((1 - x[:-1])^2 + 4 * (x[1:] - x[:-1]^2)^2) for every row of x";
const twoArguments = "matmul(matmul(tanh(a), M), b^2) + exp(mean(a) * sum(b) / 4); inputs a, b; constant M";

type Params = Readonly<Record<string, Tensor>>;

/** Losses of one sample x, y, by their text in the reference files. */
const losses: Readonly<Record<string, (params: Params, x: Tensor, y: Tensor, given: Given) => Tensor>> = {
  "loss_i = sum((matmul(w2, tanh(matmul(w1, x_i) + b1)) + b2 - y_i)^2); inputs x, y, w1, b1, w2, b2": (
    p,
    x,
    y,
  ) => p.w2!.matmul(p.w1!.matmul(x).add(p.b1!).tanh()).add(p.b2!).sub(y).square().sum(),
  "loss_i = mean((x_i weight^T + bias + scaling * (x_i A^T) B^T - y_i)^2), x_i of shape length x in; inputs x, y, A, B; constants weight, bias in attrs":
    (p, x, y, given) => {
      const branch = x.matmul(p.A!.transpose()).matmul(p.B!.transpose()).mul(given.number("scaling"));
      return x
        .matmul(given.tensor("weight").transpose())
        .add(given.tensor("bias"))
        .add(branch)
        .sub(y)
        .square()
        .mean();
    },
  "loss_i = cross_entropy(matmul(w, x_i) + b, y_i); inputs x, y, w, b": (p, x, y) =>
    crossEntropy(p.w!.matmul(x).add(p.b!).unsqueeze(0), (y as Tensor<"int32">).unsqueeze(0)), // classes
};

/** The other attributes of a case. */
interface Given {
  number(name: string): number;
  tensor(name: string): Tensor;
}

/** A case of kind `transform`: one function and what each transform makes of it. */
export const buildTransformCase: Build = (fields, engine) => {
  const bound = boundOf(fields.text("name"), engine.dtype);
  const attrs = fields.object("attrs");
  const expr = attrs.text("expr");
  const inputs = fields.tensors("inputs").map((input, i) => {
    if (!input) throw new ValueError(`${fields.place}.inputs[${i}]: expected a tensor; found null.`);
    return toTensor(input, engine.dtype);
  });
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Reference | null | undefined) => {
    if (!expected) throw new ValueError(`${fields.place}: there is no reference for the ${what}.`);
    expectations.push({ what, actual, expected, bound });
  };
  const [output] = fields.tensors("outputs");
  switch (fields.text("op")) {
    case "transform": {
      const f = functions[expr];
      if (!f) throw new Unsupported(`the expression ${expr} is not known`);
      const [x, ...constants] = inputs;
      const of = (x: Tensor) => f(x, ...constants);
      const [u, v] = [fields.tensor("cotangent"), fields.tensor("tangent")].map((t) =>
        toTensor(t, engine.dtype),
      );
      const weighted = (x: Tensor) => of(x).mul(u!).sum();
      const [y, tangent] = jvp(of, x!, v!);
      expect("output", y, output);
      expect("jvp", tangent, fields.tensor("jvp"));
      expect("vjp", vjp(of, x!)[1](u!), fields.tensor("vjp"));
      expect("jacrev", jacrev(of)(x!), fields.tensor("jacobian"));
      expect("jacfwd", jacfwd(of)(x!), fields.tensor("jacobian"));
      expect("hessian", hessian(weighted)(x!), fields.tensor("hessian"));
      expect("forward over reverse", jacfwd(grad(weighted))(x!), fields.tensor("hessian"));
      expect("hvp", hvp(weighted, x!, v!), fields.tensor("hvp"));
      break;
    }
    case "two_arguments": {
      if (expr !== twoArguments) throw new Unsupported(`the expression ${expr} is not known`);
      const [a, b, m] = inputs;
      const f = (a: Tensor, b: Tensor) =>
        a.tanh().matmul(m!).matmul(b.square()).add(a.mean().mul(b.sum()).div(4).exp());
      expect("output", f(a!, b!), output);
      const gradients = grad(f, { argnums: [0, 1] })(a!, b!);
      fields.tensors("gradients").forEach((gradient, i) => {
        expect(`gradient of argument ${i}`, gradients[i]!, gradient);
      });
      const blocks = hessian(([a, b]: readonly [Tensor, Tensor]) => f(a, b))([a!, b!]);
      fields.table("hessian").forEach((row, i) => {
        row.forEach((block, j) => {
          expect(`block ${i}, ${j} of the Hessian`, blocks[i as 0 | 1][j as 0 | 1], block); // as many as arguments
        });
      });
      break;
    }
    case "vmap_hessian": {
      if (expr !== rowwise) throw new Unsupported(`the expression ${expr} is not known`);
      const rows = inputs[0]!;
      expect("output", vmap((x: Tensor) => rosenbrock(x))(rows), output);
      expect(
        "gradient of each row",
        vmap(grad((x: Tensor) => rosenbrock(x)))(rows),
        fields.tensor("jacobian"),
      );
      expect(
        "Hessian of each row",
        vmap(hessian((x: Tensor) => rosenbrock(x)))(rows),
        fields.tensor("hessian"),
      );
      break;
    }
    case "per_sample": {
      const loss = losses[expr];
      if (!loss) throw new Unsupported(`the expression ${expr} is not known`);
      const [x, y, ...values] = inputs;
      const names = attrs.texts("params");
      const params: Params = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
      const given: Given = {
        number: (name) => attrs.number(name),
        tensor: (name) => toTensor(attrs.tensor(name), engine.dtype),
      };
      const one = (params: Params, x: Tensor, y: Tensor) => loss(params, x, y, given);
      expect("losses", vmap(one, { in: [null, 0, 0] })(params, x!, y!), output);
      const gradients = vmap(grad(one), { in: [null, 0, 0] })(params, x!, y!);
      const references = fields.tensors("perSampleGrads");
      names.forEach((name, i) => {
        expect(`gradients of ${name}`, gradients[name]!, references[i]);
      });
      break;
    }
    default:
      throw new Unsupported(`the transform ${fields.text("op")} is not known`);
  }
  return expectations;
};
