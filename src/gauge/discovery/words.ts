import type { FoundPowers, NoSymmetry, Symmetry } from "./findings.ts";
import { simplest } from "./solve.ts";

/** A symmetry for a reader. */
export function describeSymmetry(found: Omit<Symmetry, "text">): string {
  const { optimizer, bitwise, deviation, needs, open } = found;
  const how = bitwise
    ? "bit for bit for powers of two, up to rounding for others"
    : `up to rounding (${deviation.toExponential(1)})`;
  const lines = [
    `${optimizer}: a parameter times c, with gradients divided by c, is followed exactly, ${how}, by`,
  ];
  lines.push(describePowers(found));
  for (const { name, along } of open)
    lines.push(
      along.length > 0
        ? `${name} may have any power, if ${along.join(", ")} change along with it.`
        : `${name} had no effect, so its power is open.`,
    );
  for (const need of needs) lines.push(`It needs ${need}.`);
  return lines.join("\n");
}

/** For a reader: that there is no symmetry, and why. */
export function describeNone({ optimizer, closest, counterexample }: Omit<NoSymmetry, "text">): string {
  const { update, where, element, expected, found, relative, c, scenario } = counterexample;
  const when = update === 0 ? "in the initial state" : `in update ${update}`;
  const what = where === "update" ? `element ${element}` : `element ${element} of the state ${where}`;
  return [
    `${optimizer}: no powers of c make it follow a parameter times c, with gradients divided by c. The closest are`,
    describePowers(closest),
    `and with them, for c = ${c} and ${scenario}, ${what} ${when} is ${found} where ${expected} was due, a relative difference of ${relative.toExponential(1)}.`,
  ].join("\n");
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
