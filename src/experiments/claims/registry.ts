import { type Claim, type Source, sources } from "./claim.ts";
import { invariance } from "./invariance.ts";
import { later } from "./later.ts";
import { loraPlus } from "./lora-plus.ts";
import { rankInPractice } from "./rank-in-practice.ts";
import { settingAlpha } from "./setting-alpha.ts";
import { since } from "./since.ts";
import { tips } from "./tips.ts";
import { whatAlphaDoes } from "./what-alpha-does.ts";

/** Every statement, in the order of the articles; those of later work behind them. */
export const claims: readonly Claim[] = [
  ...settingAlpha,
  ...rankInPractice,
  ...loraPlus,
  ...whatAlphaDoes,
  ...tips,
  ...later,
  ...since,
  ...invariance,
].sort((one, other) => order(one) - order(other));

function order({ id }: Claim): number {
  const [source, number] = id.split("-") as [Source, string]; // ids are S1-11
  return 1000 * Object.keys(sources).indexOf(source) + Number(number);
}
