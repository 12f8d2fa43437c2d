import { ValueError } from "../base/errors.ts";
import type { Rope } from "./architecture.ts";
import type { Config } from "./config.ts";

// How a configuration says which frequencies queries and keys are turned by, and how they are scaled to contexts longer
// than those of training. Formulas as in the field `rope_type` of Hugging Face's configurations.

export interface RopeSetting {
  readonly config: Config;
  /** The object with `rope_type` and its numbers; undefined for frequencies as they are. */
  readonly scaling: Config | undefined;
  readonly theta: number;
  /** The length of a head. */
  readonly size: number;
  /** `max_position_embeddings`. */
  readonly context: number;
}

/** There is a frequency for each pair: a file may name any number. */
const widestHead = 2 ** 16;

/** The rotary embedding of a configuration. @throws ValueError for a scaling that is not implemented. */
export function ropeOf({ config, scaling, theta, size, context }: RopeSetting): Rope {
  const share = (scaling?.has("partial_rotary_factor") ? scaling : config).number("partial_rotary_factor", 1);
  if (share > 1)
    throw new ValueError(`config.json: partial_rotary_factor is ${share}; it is a share, from 0 to 1.`);
  if (size > widestHead)
    throw new ValueError(
      `config.json: heads of ${size} are more than the ${widestHead} that can be turned in pairs.`,
    );
  const turned = Math.trunc(size * share);
  const frequencies = Array.from({ length: turned / 2 }, (_, i) => theta ** ((-2 * i) / turned));
  const kind = scaling ? kindOf(config, scaling) : "default";
  if (!scaling || kind === "default") return { frequencies, factor: 1 };
  const original = () =>
    scaling.maybe("original_max_position_embeddings") ??
    config.maybe("original_max_position_embeddings") ??
    context;
  switch (kind) {
    case "linear": {
      const factor = scaling.positive("factor");
      return { frequencies: frequencies.map((f) => f / factor), factor: 1 };
    }
    case "dynamic":
      return { frequencies, factor: 1, dynamic: { from: context, factor: scaling.positive("factor") } };
    case "llama3":
      return { frequencies: llama3(frequencies, scaling, original()), factor: 1 };
    case "yarn":
      return yarn(frequencies, scaling, { theta, turned, original: original() });
    case "longrope":
      return longRope(frequencies, scaling, original(), context);
    default:
      return scaling.refuse(
        scaling.has("rope_type") ? "rope_type" : "type",
        "a scaling of that kind is unknown here",
      );
  }
}

/** Names that changed: Phi-3 called its own scaling "su" and "yarn" before it was "longrope". */
function kindOf(config: Config, scaling: Config): string {
  const kind = scaling.has("rope_type") ? scaling.text("rope_type") : scaling.text("type");
  scaling.has("type");
  const ofPhi = config.text("model_type", "") === "phi3" && (kind === "su" || kind === "yarn");
  return ofPhi ? "longrope" : kind;
}

/** Low frequencies are divided by the factor, high ones stay, and between them it fades in (Llama 3.1). */
function llama3(frequencies: readonly number[], scaling: Config, original: number): number[] {
  const factor = scaling.positive("factor");
  const [low, high] = [scaling.positive("low_freq_factor"), scaling.positive("high_freq_factor")];
  return frequencies.map((f) => {
    const turns = (original * f) / (2 * Math.PI);
    if (turns < low) return f / factor;
    if (turns > high) return f;
    const smooth = (turns - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}

/** The same by ramps over the index of the pair, and longer queries and keys (Peng et al. 2023, arXiv:2309.00071). */
function yarn(
  frequencies: readonly number[],
  scaling: Config,
  { theta, turned, original }: { readonly theta: number; readonly turned: number; readonly original: number },
): Rope {
  const factor = scaling.positive("factor");
  const pairWith = (turns: number) =>
    (turned * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = scaling.flag("truncate", true);
  const [fast, slow] = [
    pairWith(scaling.positive("beta_fast", 32)),
    pairWith(scaling.positive("beta_slow", 1)),
  ];
  const from = Math.max(whole ? Math.floor(fast) : fast, 0);
  const to = Math.min(whole ? Math.ceil(slow) : slow, turned - 1);
  const length = from === to ? 0.001 : to - from;
  const mixed = frequencies.map((f, i) => {
    const scaled = Math.min(Math.max((i - from) / length, 0), 1);
    return (f / factor) * scaled + f * (1 - scaled);
  });
  return { frequencies: mixed, factor: scaling.maybe("attention_factor") ?? yarnFactor(scaling, factor) };
}

function yarnFactor(scaling: Config, factor: number): number {
  const of = (m: number) => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const [m, all] = [scaling.number("mscale", 0), scaling.number("mscale_all_dim", 0)];
  return m && all ? of(m) / of(all) : of(1);
}

/** A factor for each pair, others for long contexts than for short ones (Ding et al. 2024, arXiv:2402.13753). */
function longRope(frequencies: readonly number[], scaling: Config, original: number, context: number): Rope {
  const [short, long] = ["short_factor", "long_factor"].map((name) => {
    const factors = scaling.numbers(name);
    if (factors.length !== frequencies.length)
      scaling.refuse(name, `it is a list of ${frequencies.length} numbers, one for each pair of a head`);
    return frequencies.map((f, i) => f / factors[i]!);
  }) as [number[], number[]]; // one for each name
  const factor = context === original ? scaling.positive("factor", 1) : context / original;
  scaling.has("factor");
  return {
    frequencies: short,
    factor:
      scaling.maybe("attention_factor") ??
      (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))),
    long: { from: original, frequencies: long },
  };
}
