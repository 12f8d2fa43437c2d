import type { Claim } from "./claim.ts";

const model = "It is about what a language model learns from text, and needs one.";
const figures = "The numbers were in figures that are lost; its runs need a language model.";
const encoder = "It is about classification of sentences, and needs an encoder.";

/** Statements that nothing here can test yet, and why. */
export const later: readonly Claim[] = [
  {
    id: "S0-1",
    statement: "Advice conflicts: alpha = 2r, r, r/2, or constant.",
    later: "Which is best at rates tuned for each depends on the task; it needs a language model.",
  },
  { id: "S0-3", statement: "Without a default, take alpha = rank.", later: model },
  {
    id: "S0-5",
    statement: "28 runs: seven alphas and four ranks on Mistral-7B and text-to-SQL.",
    later: model,
  },
  { id: "S0-6", statement: "The hard subset is SQL of 201 to 800 characters.", later: model },
  {
    id: "S0-15",
    statement: "Baselines were equalised at one rank, then the rank was varied.",
    later: figures,
  },
  {
    id: "S0-19",
    statement: "Wide minima may explain why rank and scaling matter little.",
    later: "It needs the curvature of a trained language model.",
  },
  { id: "S0-21", statement: "rsLoRA did not help here; it may for harder tasks.", later: model },
  { id: "S0-22", statement: "Plots of accuracy over steps, and code.", later: figures },
  { id: "S1-2", statement: "Ranks below 32 only learn style.", later: model },
  { id: "S1-3", statement: "Instruction tuning of a base model needs a low rank.", later: model },
  { id: "S1-4", statement: "For longer answers or bullet points a very low rank is enough.", later: model },
  {
    id: "S1-6",
    statement: "On small data the ceiling is about rank 256; higher ranks lower the quality.",
    later: model,
  },
  {
    id: "S1-8",
    statement: "A made-up language gives gibberish: closeness to what the base knows decides.",
    later: model,
  },
  {
    id: "S1-11",
    statement: "After training, alpha is about all that can still be lowered.",
    later: "What attenuation does to answers needs a language model.",
  },
  {
    id: "S2-5",
    statement: "One rate for A and B is suboptimal; B wants a much larger one.",
    later: "The size of the effect on a task needs a language model; its exponents are S2-3 and S2-4.",
  },
  { id: "S2-6", statement: "RoBERTa on GLUE supports it.", later: encoder },
  {
    id: "S2-7",
    statement: "Llama-7B: it holds for MMLU; for MNLI a much larger rate of B hurts.",
    later: encoder,
  },
  { id: "S2-9", statement: "A ratio of about 16 is good in general; try 8 to 32.", later: model },
  {
    id: "S2-10",
    statement: "The best ratio depends on model and task, and helps if the task is hard enough.",
    later: model,
  },
  {
    id: "S2-11",
    statement: "A = 0 with a random B is better with LoRA+.",
    later: "Published results disagree; it needs language models at several ratios.",
  },
  { id: "S2-12", statement: "The best four cells of a grid of rates lie off the diagonal.", later: model },
  {
    id: "S2-13",
    statement: "The authors' code puts normalisations and all vectors into the group of B.",
    later: "Its effect needs a model with normalisations that are trained.",
  },
  { id: "S4-1", statement: "Results are remarkably consistent across runs.", later: model },
  {
    id: "S4-5",
    statement: "The choice of the optimizer hardly matters, but for SGD without a schedule.",
    later: model,
  },
  { id: "S4-7", statement: "Two passes over the data are worse than one.", later: model },
  { id: "S4-10", statement: "Of the 64 sets of target modules most are unexplored.", later: model },
  {
    id: "S4-11",
    statement: "alpha = 2r is the sweet spot; the best was r = 256 with alpha = 512.",
    later:
      "At rates tuned for each cell it is a factor of 2 in the rate of B; what is best needs a language model.",
  },
  {
    id: "S4-12",
    statement: "7B fits one GPU with 14 GB; r = 256 takes 17.86 GB and 3 hours.",
    later: "Activations and time need the model itself.",
  },
  { id: "S4-15", statement: "1,000 good examples may beat 50,000.", later: model },
  { id: "S4-16", statement: "Arithmetic got worse, since the data has none.", later: model },
  { id: "S4-17", statement: "More diverse tasks need a larger rank.", later: model },
  {
    id: "S4-18",
    statement: "Large ranks overfit; less rank, more data, decay or dropout help.",
    later: model,
  },
  { id: "S4-19", statement: "Dropout of adapters was fixed at 0.05.", later: model },
  {
    id: "S4-20",
    statement: "Sophia is twice as fast as Adam.",
    later: "It needs an optimizer with curvature and a language model.",
  },
  {
    id: "S4-21",
    statement: "From 1,304 to 2,048 tokens memory grows from 17.86 to 26.96 GB.",
    later: "Activations need the model itself.",
  },
  { id: "S4-22", statement: "Full fine-tuning takes two GPUs and is worse on benchmarks.", later: model },
  {
    id: "S4-25",
    statement: "LitGPT merges with a script.",
    later: "Reading adapters of other libraries has an issue of its own.",
  },
  { id: "S4-26", statement: "Rates and ranks by layer are unexplored.", later: model },
  { id: "S4-27", statement: "No single data set serves every benchmark.", later: model },
  { id: "S4-28", statement: "Reinforcement learning was not tried.", later: "No claim to test." },
];
