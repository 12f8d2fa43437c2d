import { alphaRank } from "./alpha-rank.ts";
import { amount } from "./amount.ts";
import { batches } from "./batches.ts";
import { bestRatesStudy } from "./best-rates.ts";
import { capacity } from "./capacity.ts";
import { closeness } from "./closeness.ts";
import { curvature } from "./curvature.ts";
import { forgetting } from "./forgetting.ts";
import { heuristics } from "./heuristics.ts";
import { layers } from "./layers.ts";
import { loraPlus } from "./lora-plus.ts";
import { memory } from "./memory.ts";
import { merging } from "./merging.ts";
import { normalisations } from "./normalisations.ts";
import { optimizers } from "./optimizers.ts";
import { rslora } from "./rslora.ts";
import { schedules } from "./schedules.ts";
import { spectra } from "./spectra.ts";
import type { Study } from "./study.ts";
import { targets } from "./targets.ts";
import { threeExponents } from "./three-exponents.ts";
import { variantsStudy } from "./variants.ts";
import { xy } from "./xy.ts";

/** Every study, by its name. */
export const studies: readonly Study[] = [
  alphaRank,
  xy,
  rslora,
  loraPlus,
  heuristics,
  schedules,
  targets,
  forgetting,
  capacity,
  amount,
  closeness,
  merging,
  variantsStudy,
  layers,
  batches,
  optimizers,
  spectra,
  normalisations,
  curvature,
  memory,
  threeExponents,
  bestRatesStudy,
];
