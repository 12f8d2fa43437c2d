import type { Seen } from "./duel.ts";
import { type Experiment, explain, opening, withPartner } from "./experiment.ts";

// Guided stories: each step sets an experiment, and the last one says what holds the story.

export interface Step {
  readonly words: string;
  readonly experiment: Experiment;
  readonly updates: number;
  /** What must be true at its end, in words, and whether it is, of what was seen in this step and in those before. */
  readonly holds?: {
    readonly words: string;
    readonly test: (seen: readonly Seen[], before: readonly (readonly Seen[])[]) => boolean;
  };
}

export interface Story {
  readonly name: string;
  readonly title: string;
  readonly steps: readonly Step[];
}

const start = opening();
const alike: Experiment = { ...start, y: start.x };
const onlyAlpha: Experiment = { ...start, y: { ...start.x, alpha: 4 * start.x.alpha } };

const articleX = { ...start.x, alpha: 1, lrA: 0.00512, lrB: 0.00512 };
const articleY = { ...start.x, alpha: 512, lrA: 1e-5, lrB: 1e-5 };
const article: Experiment = { ...start, rank: 8, x: articleX, y: articleY };

const ranked = (rank: number): Experiment => withPartner({ ...start, rank });

const rooted = (optimizer: "sgd" | "adam"): Experiment => {
  const own = opening("linear", optimizer);
  return { ...own, rank: 16, y: { ...own.x, alpha: 4 * own.x.alpha } };
};

const sameBits = {
  words: "Every parameter of Y is that of X times its factor, to the last bit, after every update.",
  test: (seen: readonly Seen[]) => seen.length > 0 && seen.every(({ same }) => same),
};

export const stories: readonly Story[] = [
  {
    name: "alpha",
    title: "Alpha is the learning rate of B",
    steps: [
      {
        words: "Two runs with the same numbers. The lamp compares every bit of every parameter.",
        experiment: alike,
        updates: 40,
      },
      {
        words:
          "Y has four times the alpha, and nothing else. The lamp goes out: in the plane, Y has moved up.",
        experiment: onlyAlpha,
        updates: 40,
      },
      {
        words:
          "Now B's rate is a quarter and its eps four times as large. The same bits again: what alpha did was to B's rate.",
        experiment: withPartner(onlyAlpha),
        updates: 120,
        holds: sameBits,
      },
    ],
  },
  {
    name: "xy",
    title: "Run X is not Run Y",
    steps: [
      {
        words:
          "An article says that alpha 1 with rate 0.00512 and alpha 512 with rate 0.00001 perform alike: the products are equal. They are far apart in the plane.",
        experiment: article,
        updates: 80,
      },
      {
        words:
          "Keep alpha 512, and give A the rate 0.00512 of X: B's rate is then 0.00001 indeed, and its eps follows.",
        experiment: withPartner(article),
        updates: 120,
        holds: sameBits,
      },
    ],
  },
  {
    name: "rank",
    title: "Why rank does not matter, until it does",
    steps: [
      {
        words:
          "The task needs four directions, and the rank is eight: four singular values grow, the others stay small.",
        experiment: ranked(8),
        updates: 150,
      },
      { words: "Rank four is just enough.", experiment: ranked(4), updates: 150 },
      {
        words:
          "Rank two learns the two largest directions, and no rate can help it: the loss stays where the others began to fall.",
        experiment: ranked(2),
        updates: 150,
        holds: {
          words: "After 150 updates the loss at rank 2 is more than ten times that of rank 4.",
          test: (seen, before) => seen.at(-1)!.loss.x > 10 * before.at(-1)!.at(-1)!.loss.x,
        },
      },
    ],
  },
  {
    name: "rslora",
    title: "What rsLoRA changes, under SGD and under Adam",
    steps: [
      {
        words:
          "At rank 16, rsLoRA's alpha/√r is alpha/r with four times the alpha. Under Adam, Y is X with a rate of B that is 4 times larger: LoRA+ with ratio 4.",
        experiment: rooted("adam"),
        updates: 60,
      },
      {
        words: "Under SGD the same change counts twice: 16 times the rate of B.",
        experiment: rooted("sgd"),
        updates: 60,
      },
      {
        words: "With B's rate divided by those 16, rsLoRA is LoRA.",
        experiment: withPartner(rooted("sgd")),
        updates: 120,
        holds: {
          words: "The ratio is 4 under Adam and 16 under SGD, and with it taken out the bits are the same.",
          test: (seen) =>
            explain(rooted("adam")).loraPlus?.ratio === 4 &&
            explain(rooted("sgd")).loraPlus?.ratio === 16 &&
            sameBits.test(seen),
        },
      },
    ],
  },
];
