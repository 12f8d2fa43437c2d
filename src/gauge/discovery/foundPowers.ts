import type { FoundPowers, Phase } from "./findings.ts";
import { ownerOf } from "./numbers.ts";
import type { Unknowns } from "./unknowns.ts";
import type { Powers } from "./verify.ts";

/** Powers as they are reported: pairs joined, and updates in a row with one power as a phase. */
export function foundPowers(powers: Powers, unknowns: Unknowns): FoundPowers {
  const hyper: Record<string, number> = {};
  const phases: Record<string, readonly Phase[]> = {};
  for (const name of unknowns.hyper) {
    if (unknowns.varies(name)) phases[name] = phasesOf((t) => powers.hyper(name, t), unknowns.updates);
    else hyper[name] = powers.hyper(name, 1);
  }
  const state = Object.fromEntries(unknowns.slots.map((slot) => [slot, powers.state(slot)]));
  return { hyper: joined(hyper), phases, state };
}

function phasesOf(powerAt: (t: number) => number, updates: number): Phase[] {
  const phases: Phase[] = [];
  for (let t = 1; t <= updates; t++) {
    const [last, power] = [phases.at(-1), powerAt(t)];
    if (last?.power === power) phases[phases.length - 1] = { ...last, to: t };
    else phases.push({ from: t, to: t, power });
  }
  return phases;
}

/** The numbers of a pair as one where they agree. */
function joined(powers: Readonly<Record<string, number>>): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [name, power] of Object.entries(powers)) {
    const owner = ownerOf(name);
    const all = Object.entries(powers).filter(([other]) => ownerOf(other) === owner);
    result[all.every(([, other]) => other === power) ? owner : name] = power;
  }
  return result;
}
