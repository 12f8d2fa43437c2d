// The curvature of LoRA where it has learned its task: B A is the same for (B M^-1, M A) with any invertible M of r x r, so
// that r^2 directions are flat, whatever the data are. The Hessian's eigenvalues show just as many zeros.
//
//   npm run example hessian-spectrum

import { compile, hessian, init, linalg, random, type Tensor, valueAndGrad } from "lorantz";
import * as optim from "lorantz/optim";
import type { Picture } from "./picture.ts";

export async function hessianSpectrum({ inputs = 7, outputs = 5, r = 2, steps = 3000 } = {}) {
  await init();
  const [ofA, ofB] = [r * inputs, outputs * r];
  const x = random.normal(random.key(0), [64, inputs]);
  const change = random
    .normal(random.key(1), [outputs, r])
    .matmul(random.normal(random.key(2), [r, inputs]))
    .mul(0.5);
  const y = x.matmul(change.transpose());
  // Both factors in one vector, whose Hessian is one matrix. The frozen weight is in y already.
  const loss = (p: Tensor) => {
    const A = p.at([0, ofA]).get().reshape([r, inputs]);
    const B = p
      .at([ofA, ofA + ofB])
      .get()
      .reshape([outputs, r]);
    return x.matmul(A.transpose()).matmul(B.transpose()).sub(y).square().sum(1).mean().mul(0.5);
  };

  const optimizer = optim.adam({ lr: 3e-2, schedule: optim.schedule.cosine({ tMax: steps }) });
  const step = compile(
    (p: Tensor, state: optim.OptimizerState) => {
      const [value, gradient] = valueAndGrad(loss)(p);
      const [update, next] = optimizer.update(gradient, state, p);
      return { p: optim.applyUpdates(p, update) as Tensor, state: next, value };
    },
    { donate: [0, 1] },
  );
  let p: Tensor = random.normal(random.key(3), [ofA + ofB], { std: 0.5 });
  let state = optimizer.init(p);
  for (let i = 0; i < steps; i++) ({ p, state } = await step(p, state));

  const { w } = linalg.eigh(await compile(hessian(loss))(p));
  const eigenvalues = (await w.toArray()) as number[];
  const largest = Math.max(...eigenvalues);
  const isZero = (value: number) => Math.abs(value) < 1e-4 * largest;
  const picture: Picture = {
    title: `Eigenvalues of the Hessian of LoRA with r = ${r}: ${r * r} flat directions`,
    data: {
      values: eigenvalues.map((value, i) => ({
        place: i + 1,
        size: Math.max(Math.abs(value), 1e-9),
        kind: isZero(value) ? "zero" : "curved",
      })),
    },
    width: 480,
    mark: { type: "point", filled: true, size: 50 },
    encoding: {
      x: { field: "place", type: "quantitative", title: "eigenvalue, smallest first" },
      y: { field: "size", type: "quantitative", scale: { type: "log" }, title: "its size" },
      color: { field: "kind", type: "nominal" },
    },
  };
  return {
    figures: {
      loss: await loss(p).item(),
      parameters: ofA + ofB,
      largest,
      zeros: eigenvalues.filter(isZero).length,
      expectedZeros: r * r,
    },
    picture,
  };
}

export default hessianSpectrum;
