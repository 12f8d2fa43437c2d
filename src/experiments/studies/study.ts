import type { Recipe } from "../../gauge/index.ts";
import type { LinesOptions } from "../charts.ts";
import type { Check } from "../claims/verdict.ts";
import type { Run, RunResult } from "../language/run.ts";

/** How an experiment decides, written before it is run. */
export interface Design {
  readonly task: string;
  readonly metric: string;
  readonly grid: string;
  /** What is subtracted from what, and over what its t interval goes. */
  readonly contrast: string;
  /** The standard deviation that the differences are thought to have from seed to seed: what can be seen follows from it. */
  readonly spread: number;
  /** Where something is chosen, such as a rate: by which seeds, which are not those that are compared. */
  readonly choice?: string;
  readonly correction: string;
  /** What the result would have to be for the verdict to turn. */
  readonly turns: string;
}

/** An experiment on a language model: runs, and what they say about some claims. */
export interface Study {
  readonly name: string;
  readonly title: string;
  readonly design: Design;
  /** The claims that it judges. */
  readonly claims: readonly string[];
  /** How many runs it takes at most. */
  readonly count: (bench: Pick<Bench, "choice" | "comparison">) => number;
  readonly measure: (bench: Bench) => Promise<Findings>;
}

/** Where the runs of a study are done. */
export interface Bench {
  /** Seeds by which something is chosen, and those by which it is compared. No study compares by the seeds of a choice. */
  readonly choice: readonly number[];
  readonly comparison: readonly number[];
  readonly steps: number;
  run(run: Trial): Promise<RunResult>;
  /** The last loss of a linear layer on a teacher, where no language model is needed. */
  teach(lesson: Lesson): Promise<number>;
  /** A network that is to know facts by heart, likewise. */
  memorise(facts: Facts): Promise<Memory>;
}

/** A training on a linear teacher of some width. */
export interface Lesson {
  readonly recipe: Recipe;
  readonly width: number;
  /** Of the data, all of them in each batch. */
  readonly samples: number;
  readonly steps: number;
  readonly seed: number;
}

/** A training of a network of two layers on facts made up at random. */
export interface Facts {
  readonly recipe: Recipe;
  /** Of inputs and of the hidden layer. */
  readonly width: number;
  readonly classes: number;
  readonly facts: number;
  /** Facts of a batch; each pass has the same batches in the same order. */
  readonly batch: number;
  readonly steps: number;
  readonly seed: number;
}

/** What came of such a training. */
export interface Memory {
  /** Of each batch, before its update; that of knowing nothing where it is not finite. */
  readonly losses: readonly number[];
  readonly trained: number;
}

/** A run in which the number of steps may be left to the bench. */
export type Trial = Omit<Run, "steps"> & { readonly steps?: number };

/** What came out of a study. */
export interface Findings {
  readonly checks: { readonly [claim: string]: readonly Check[] };
  readonly tables: readonly Table[];
  readonly plots: readonly LinesOptions[];
}

/** A table of losses or of other figures. */
export interface Table {
  readonly title: string;
  /** What the rows are, then the columns. */
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}
