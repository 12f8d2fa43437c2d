import type { Check } from "./verdict.ts";

/** Where claims come from. */
export const sources = {
  S0: "“How to set alpha in LoRA”, on Mistral-7B and text-to-SQL, September 2024",
  S1: "FartyPants, “What rank (r) and alpha to use in LoRA in LLM fine-tuning?”, November 2023",
  S2: "“LoRA+: Efficient Low Rank Adaptation of Large Models”, by one of its authors",
  S3: "“What LoRA alpha actually does (in theory)”, September 2023",
  S4: "Raschka's tips on fine-tuning with LoRA (LitGPT, Llama-2-7B), in a paraphrase",
  N: "Since then: “LoRA Without Regret” (2025) and papers to 2026, some of them by their abstracts",
} as const;

export type Source = keyof typeof sources;

/** A statement, and what became of it. */
export type Claim = {
  /** Source and number, "S0-9". */
  readonly id: `${Source}-${number}`;
  readonly statement: string;
} & (
  | {
      /** How it is tested, in a sentence or two. */
      readonly how: string;
      /** It is about figures and shapes alone: what is not so as stated is then wrong, whatever explains it. */
      readonly arithmetic?: true;
      /** Measures it on the default device, the CPU. */
      readonly test: (context: Context) => Promise<readonly Check[]>;
    }
  | {
      /** The study that judges it, on a language model. */
      readonly study: string;
    }
  | {
      /** Why it is not tested here. */
      readonly later: string;
      /** What would be measured, where there is something to measure. */
      readonly plan?: string;
    }
);

export interface Context {
  /** Which repetitions: none is drawn under two seeds. */
  readonly seed: number;
  /** Independent repetitions of measurements with chance in them, at least 2. */
  readonly seeds: number;
  /** Called now and then with the share of the work that is done; may wait, and may throw. */
  readonly onProgress: (share: number) => void | Promise<void>;
}
