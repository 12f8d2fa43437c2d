import type { Claim } from "./claim.ts";

/**
 * Statements that need a language model, with the study that judges them there; and those that nothing here tests, why, and
 * what would be measured.
 */
export const later: readonly Claim[] = [
  {
    id: "S0-1",
    statement: "Advice conflicts: alpha = 2r, r, r/2, or constant.",
    study: "heuristics",
  },
  {
    id: "S0-3",
    statement: "Without a default, take alpha = rank.",
    study: "heuristics",
  },
  {
    id: "S0-5",
    statement: "28 runs: seven alphas and four ranks on Mistral-7B and text-to-SQL.",
    study: "alpha-rank",
  },
  {
    id: "S0-6",
    statement: "The hard subset is SQL of 201 to 800 characters.",
    study: "alpha-rank",
  },
  {
    id: "S0-15",
    statement: "Baselines were equalised at one rank, then the rank was varied.",
    study: "rslora",
  },
  {
    id: "S0-19",
    statement: "Wide minima may explain why rank and scaling matter little.",
    study: "curvature",
  },
  {
    id: "S0-21",
    statement: "rsLoRA did not help here; it may for harder tasks.",
    study: "rslora",
  },
  {
    id: "S0-22",
    statement: "Plots of accuracy over steps, and code.",
    study: "alpha-rank",
  },
  {
    id: "S1-2",
    statement: "Ranks below 32 only learn style.",
    study: "capacity",
  },
  {
    id: "S1-3",
    statement: "Instruction tuning of a base model needs a low rank.",
    study: "capacity",
  },
  {
    id: "S1-4",
    statement: "For longer answers or bullet points a very low rank is enough.",
    study: "capacity",
  },
  {
    id: "S1-6",
    statement: "On small data the ceiling is about rank 256; higher ranks lower the quality.",
    study: "amount",
  },
  {
    id: "S1-8",
    statement: "A made-up language gives gibberish: closeness to what the base knows decides.",
    study: "closeness",
  },
  {
    id: "S1-11",
    statement: "After training, alpha is about all that can still be lowered.",
    study: "merging",
  },
  {
    id: "S2-5",
    statement: "One rate for A and B is suboptimal; B wants a much larger one.",
    study: "lora-plus",
  },
  {
    id: "S2-6",
    statement: "RoBERTa on GLUE supports it.",
    study: "lora-plus",
  },
  {
    id: "S2-7",
    statement: "Llama-7B: it holds for MMLU; for MNLI a much larger rate of B hurts.",
    study: "lora-plus",
  },
  {
    id: "S2-9",
    statement: "A ratio of about 16 is good in general; try 8 to 32.",
    study: "lora-plus",
  },
  {
    id: "S2-10",
    statement: "The best ratio depends on model and task, and helps if the task is hard enough.",
    study: "lora-plus",
  },
  {
    id: "S2-11",
    statement: "A = 0 with a random B is better with LoRA+.",
    study: "variants",
  },
  {
    id: "S2-12",
    statement: "The best four cells of a grid of rates lie off the diagonal.",
    study: "lora-plus",
  },
  {
    id: "S2-13",
    statement: "The authors' code puts normalisations and all vectors into the group of B.",
    study: "normalisations",
  },
  {
    id: "S4-1",
    statement: "Results are remarkably consistent across runs.",
    study: "merging",
  },
  {
    id: "S4-3",
    statement: "QLoRA stores weights in 4 bits, and hardly affects quality.",
    study: "merging",
  },
  {
    id: "S4-4",
    statement: "A cosine schedule improves SGD noticeably, and Adam hardly.",
    study: "schedules",
  },
  {
    id: "S4-5",
    statement: "The choice of the optimizer hardly matters, but for SGD without a schedule.",
    study: "schedules",
  },
  {
    id: "S4-7",
    statement: "Two passes over the data are worse than one.",
    study: "amount",
  },
  {
    id: "S4-10",
    statement: "Of the 64 sets of target modules most are unexplored.",
    study: "targets",
  },
  {
    id: "S4-11",
    statement: "alpha = 2r is the sweet spot; the best was r = 256 with alpha = 512.",
    study: "heuristics",
  },
  {
    id: "S4-12",
    statement: "7B fits one GPU with 14 GB; r = 256 takes 17.86 GB and 3 hours.",
    later: "Activations and time need the model itself.",
  },
  {
    id: "S4-15",
    statement: "1,000 good examples may beat 50,000.",
    study: "amount",
  },
  {
    id: "S4-16",
    statement: "Arithmetic got worse, since the data has none.",
    study: "forgetting",
  },
  {
    id: "S4-17",
    statement: "More diverse tasks need a larger rank.",
    study: "capacity",
  },
  {
    id: "S4-18",
    statement: "Large ranks overfit; less rank, more data, decay or dropout help.",
    study: "amount",
  },
  {
    id: "S4-19",
    statement: "Dropout of adapters was fixed at 0.05.",
    study: "amount",
  },
  {
    id: "S4-20",
    statement: "Sophia is twice as fast as Adam.",
    study: "optimizers",
  },
  {
    id: "S4-21",
    statement: "From 1,304 to 2,048 tokens memory grows from 17.86 to 26.96 GB.",
    later: "Activations need the model itself.",
  },
  {
    id: "S4-22",
    statement: "Full fine-tuning takes two GPUs and is worse on benchmarks.",
    study: "forgetting",
  },
  {
    id: "S4-25",
    statement: "LitGPT merges with a script.",
    later: "It is about another library's file, and no claim on LoRA.",
  },
  {
    id: "S4-26",
    statement: "Rates and ranks by layer are unexplored.",
    study: "layers",
  },
  {
    id: "S4-27",
    statement: "No single data set serves every benchmark.",
    study: "forgetting",
  },
  { id: "S4-28", statement: "Reinforcement learning was not tried.", later: "No claim to test." },
];
