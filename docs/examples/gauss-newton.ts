// Least squares with three parameters: Gauss and Newton, damped by Levenberg and Marquardt, beside gradient descent. The
// Jacobian is jacfwd's, which costs three passes; the step is a solution of three equations.
//
//   npm run example gauss-newton

import {
  compile,
  eye,
  init,
  jacfwd,
  linalg,
  linspace,
  random,
  type Tensor,
  tensor,
  valueAndGrad,
} from "lorantz";
import type { Picture } from "./picture.ts";

export async function gaussNewton({ steps = 12, descents = 2000 } = {}) {
  await init();
  const curve = (p: Tensor, x: Tensor) =>
    p
      .at(0)
      .get()
      .mul(x.mul(p.at(1).get()).neg().exp())
      .add(p.at(2).get());
  const x = linspace(0, 4, 60);
  const truth = tensor([2.5, 1.3, 0.5]);
  const y = curve(truth, x).add(random.normal(random.key(0), [60], { std: 0.05 }));
  const start = tensor([1, 1, 1]).mul(0.5);
  const residual = (p: Tensor) => curve(p, x).sub(y);
  const loss = (p: Tensor) => residual(p).square().mean();

  const step = compile((p: Tensor, damping: Tensor<"number">) => {
    const [J, r] = [jacfwd(residual)(p), residual(p)];
    const normal = J.transpose().matmul(J);
    const damped = normal.add(normal.mul(eye(3)).mul(damping));
    const next = p.sub(linalg.solve(damped, J.transpose().matmul(r)));
    return { next, loss: loss(next) };
  });
  const history: { method: string; work: number; loss: number }[] = [];
  let [p, best, damping] = [start as Tensor, await loss(start).item(), 1e-2];
  for (let i = 0; i < steps; i++) {
    history.push({ method: "Gauss-Newton", work: i + 1, loss: best });
    const { next, loss: reached } = await step(p, damping);
    const value = await reached.item();
    [p, best, damping] = value < best ? [next, value, damping / 10] : [p, best, damping * 10];
  }

  const descend = compile((q: Tensor) => {
    const [value, g] = valueAndGrad(loss)(q);
    return { next: q.sub(g.mul(0.3)), value };
  });
  let q: Tensor = start;
  for (let i = 0; i < descents; i++) {
    const { next, value } = await descend(q);
    if (Number.isInteger(Math.log2(i + 1)))
      history.push({ method: "gradient descent", work: i + 1, loss: await value.item() });
    q = next;
  }
  const picture: Picture = {
    title: "Loss over steps",
    data: { values: history },
    width: 480,
    mark: { type: "line", point: true },
    encoding: {
      x: { field: "work", type: "quantitative", scale: { type: "log" }, title: "steps" },
      y: { field: "loss", type: "quantitative", scale: { type: "log" } },
      color: { field: "method", type: "nominal" },
    },
  };
  const distance = (one: Tensor) => one.sub(truth).abs().amax().item();
  return {
    figures: {
      start: await loss(start).item(),
      gaussNewton: best,
      gradientDescent: await loss(q).item(),
      fromTruth: await distance(p),
    },
    picture,
  };
}

export default gaussNewton;
