import type { Library } from "./library.ts";
import { axolotl } from "./tools/axolotl.ts";
import { burn } from "./tools/burn.ts";
import { kohya } from "./tools/kohya.ts";
import { litgpt } from "./tools/litgpt.ts";
import { loralib } from "./tools/loralib.ts";
import { mlxLm } from "./tools/mlx-lm.ts";
import { peft, peftLoraplus, peftTrainer } from "./tools/peft.ts";
import { tinker } from "./tools/tinker.ts";
import { torchtune } from "./tools/torchtune.ts";
import { trl } from "./tools/trl.ts";
import { unsloth } from "./tools/unsloth.ts";

// The libraries. Their defaults were read in the sources named beside them, at the commit where one is given; a version is
// that of the source as it was read, and of `torch.optim` the defaults are those that PyTorch documents.

/** Libraries by name. */
export const libraries = {
  loralib,
  peft,
  "peft-trainer": peftTrainer,
  "peft-loraplus": peftLoraplus,
  trl,
  unsloth,
  axolotl,
  litgpt,
  torchtune,
  "mlx-lm": mlxLm,
  kohya,
  tinker,
  burn,
} as const satisfies { readonly [name: string]: Library };

export type LibraryName = keyof typeof libraries;

/** A library by its name, with the type that all have. */
export function libraryOf(name: LibraryName): Library {
  return libraries[name];
}
