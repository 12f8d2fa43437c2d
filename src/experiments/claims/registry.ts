import type { Claim } from "./claim.ts";
import { later } from "./later.ts";
import { loraPlus } from "./lora-plus.ts";
import { rankInPractice } from "./rank-in-practice.ts";
import { settingAlpha } from "./setting-alpha.ts";
import { tips } from "./tips.ts";
import { whatAlphaDoes } from "./what-alpha-does.ts";

/** Every statement, in the order of the articles. */
export const claims: readonly Claim[] = [
  ...settingAlpha,
  ...rankInPractice,
  ...loraPlus,
  ...whatAlphaDoes,
  ...tips,
  ...later,
].sort((one, other) => order(one) - order(other));

function order({ id }: Claim): number {
  const [source, number] = id.slice(1).split("-").map(Number) as [number, number]; // ids are S1-11
  return 1000 * source + number;
}
