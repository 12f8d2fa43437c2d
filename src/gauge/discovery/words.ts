import type { Attempt, Powers } from "./attempts.ts";
import { listPattern } from "./attempts.ts";
import type { FoundPowers, Looked, NoSymmetry, Phase, Symmetry, Undecided } from "./findings.ts";
import { ownerOf } from "./hyper.ts";
import { simplest, type Unknowns } from "./solve.ts";
import type { Misuse } from "./subject.ts";
import { showFactor } from "./verify.ts";

/** Powers as they are reported: pairs joined, and updates in a row with one power as a phase. */
export function foundPowers({ powers }: Pick<Attempt, "powers">, unknowns: Unknowns): FoundPowers {
  const hyper: Record<string, number> = {};
  const phases: Record<string, readonly Phase[]> = {};
  for (const name of unknowns.hyper) {
    if (unknowns.varies(name)) phases[name] = phasesOf((t) => powers.hyper(name, t), unknowns.updates);
    else hyper[name] = powers.hyper(name, 1);
  }
  return { hyper: joined(hyper, ownerOf), phases, state: joined(statePowers(powers, unknowns), listPattern) };
}

function statePowers(powers: Powers, unknowns: Unknowns): Record<string, number> {
  return Object.fromEntries(unknowns.slots.map((slot) => [slot, powers.state(slot) ?? 0]));
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

/** Names that belong together as one where they agree. */
function joined(
  powers: Readonly<Record<string, number>>,
  ownerOf: (name: string) => string,
): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [name, power] of Object.entries(powers)) {
    const owner = ownerOf(name);
    const all = Object.entries(powers).filter(([other]) => ownerOf(other) === owner);
    result[all.every(([, other]) => other === power) ? owner : name] = power;
  }
  return result;
}

/** A symmetry for a reader. */
export function describeSymmetry(found: Omit<Symmetry, "text">): string {
  const { optimizer, bitwise, deviation, needs, open, looked } = found;
  const how = bitwise
    ? `bit for bit for powers of two, up to ${deviation.toExponential(1)} of the largest number for others`
    : `up to rounding (${deviation.toExponential(1)})`;
  const lines = [
    `${optimizer}: a parameter times c, with gradients divided by c, is followed exactly in all that was looked at, ${how}, by`,
    describePowers(found),
  ];
  for (const { name, along } of open)
    lines.push(
      along.length > 0
        ? `${name} may have any power, if ${along.join(", ")} change along with it.`
        : `${name} had no effect, so its power is open.`,
    );
  for (const need of needs) lines.push(`It needs ${need}.`);
  return [...lines, describeLooked(looked)].join("\n");
}

/** For a reader: that there is no symmetry, and why. */
export function describeNone({
  optimizer,
  closest,
  counterexample,
  looked,
}: Omit<NoSymmetry, "text">): string {
  const { update, where, element, expected, found, relative, c, scenario } = counterexample;
  const when = update === 0 ? "in the initial state" : `in update ${update}`;
  const what = where.startsWith("update")
    ? `element ${element} of the ${where}`
    : `element ${element} of the state ${where}`;
  return [
    `${optimizer}: ${kept(looked)}no powers of c make it follow a parameter times c, with gradients divided by c. The closest that were found are`,
    describePowers(closest),
    `and with them, for c = ${showFactor(c)} and ${scenario}, ${what} ${when} is ${found} where ${expected} was due, a relative difference of ${relative.toExponential(1)}.`,
    describeLooked(looked),
  ].join("\n");
}

/** What else might move, but could not be tried. */
function kept({ untried }: Looked): string {
  const names = Object.keys(untried);
  return names.length === 0
    ? ""
    : `with ${names.join(", ")} as ${names.length === 1 ? "it is" : "they are"}, `;
}

/** For a reader: that nothing was decided, and why. */
export function undecided(optimizer: string, { fault, message, hyper }: Misuse): Undecided {
  const made = Object.entries(hyper).map(([name, value]) => `${name} ${value}`);
  const text = `${optimizer} ${fault}: ${message}. It was made with ${made.join(", ") || "no numbers"}; whether it has a symmetry was not decided.`;
  return { exists: undefined, optimizer, fault, hyper, text };
}

function describeLooked(looked: Looked): string {
  const { shapes, refusedShapes, updates, late, gradients, parameters, factors, limits, tried, untried } =
    looked;
  const list = (entries: Readonly<Record<string, string | number>>) =>
    Object.entries(entries)
      .map(([name, value]) => `${name} (${value})`)
      .join(", ");
  const range = (name: string, [least, largest]: readonly number[]) =>
    largest === 0 ? [] : [`${name} from ${least!.toExponential(0)} to ${largest!.toExponential(0)}`];
  const extent = [
    `${updates} updates in a row${late.length > 0 ? `, and updates after ${late.join(", ")} with counters set ahead` : ", none later"}`,
    [...range("gradients", gradients), ...range("parameters", parameters), ...range("c", factors)].join(", "),
    "computed in float64, and state rounded where it is stored in less",
  ];
  const lines = [
    `Looked at: shapes ${shapes.join(", ")}; ${updates > 0 ? extent.join("; ") : "no run agreed before"}.`,
    `Hyperparameters tried: ${list(tried) || "none"}; left as they are: ${list(untried) || "none"}.`,
  ];
  for (const limit of limits) lines.push(`Not further than ${limit}.`);
  for (const [shape, why] of Object.entries(refusedShapes)) lines.push(`Not for shape ${shape}: ${why}.`);
  return lines.join("\n");
}

function describePowers({ hyper, phases, state }: FoundPowers): string {
  const lines = Object.entries(hyper).map(([name, power]) => `  ${name}${times(power)}`);
  for (const [name, list] of Object.entries(phases)) {
    for (const { from, to, power } of list)
      lines.push(
        `  ${name}${times(power)} in ${from === to ? `update ${from}` : `updates ${from} to ${to}`}`,
      );
  }
  for (const [slot, power] of Object.entries(state)) lines.push(`  state ${slot}${times(power)}`);
  return lines.join("\n");
}

function times(power: number): string {
  if (power === 0) return " unchanged";
  const { value, denominator } = simplest(power);
  if (denominator === undefined) return ` times c^${power.toFixed(6)}`;
  if (denominator > 1) return ` times c^(${Math.round(value * denominator)}/${denominator})`;
  return power === 1 ? " times c" : ` times c^${power}`;
}
