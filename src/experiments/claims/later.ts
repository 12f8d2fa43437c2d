import type { Claim } from "./claim.ts";

const model = "It is about what a language model learns from text, and needs one.";
const figures = "The numbers were in figures that are lost; its runs need a language model.";
const encoder = "It is about classification of sentences, and needs an encoder.";

/**
 * Statements that nothing here can test, and why; and what would be measured. All plans compare validation losses of
 * a small language model, fine-tuned from one base in runs that share their batches and keys, over seeds.
 */
export const later: readonly Claim[] = [
  {
    id: "S0-1",
    statement: "Advice conflicts: alpha = 2r, r, r/2, or constant.",
    later: "Which is best at rates tuned for each depends on the task; it needs a language model.",
    plan: "All of these are points of one plane of lr_A and s lr_B: a grid of it at r = 2, 8 and 32, chosen on some seeds and compared on others.",
  },
  {
    id: "S0-3",
    statement: "Without a default, take alpha = rank.",
    later: model,
    plan: "The grid of S0-1.",
  },
  {
    id: "S0-5",
    statement: "28 runs: seven alphas and four ranks on Mistral-7B and text-to-SQL.",
    later: model,
    plan: "The 28 runs at three seeds on generated SQL; the interaction of alpha and rank.",
  },
  {
    id: "S0-6",
    statement: "The hard subset is SQL of 201 to 800 characters.",
    later: model,
    plan: "The runs of S0-5 on queries of these lengths and on all.",
  },
  {
    id: "S0-15",
    statement: "Baselines were equalised at one rank, then the rank was varied.",
    later: figures,
    plan: "Both scalings equal at r = 8, then r = 2, 32 and 64 at two rates: the interaction of rank and scaling.",
  },
  {
    id: "S0-19",
    statement: "Wide minima may explain why rank and scaling matter little.",
    later:
      "It needs the curvature of a trained language model. The largest eigenvalue of the Hessian in A and B depends on the gauge, so it means something only in one that the function fixes.",
    plan: "The largest eigenvalue in the balanced gauge (A A^T = B^T B) at the end of each run.",
  },
  {
    id: "S0-21",
    statement: "rsLoRA did not help here; it may for harder tasks.",
    later: model,
    plan: "Tasks of several parts, whose number sets the rank that is needed: both scalings at their best rates.",
  },
  {
    id: "S0-22",
    statement: "Plots of accuracy over steps, and code.",
    later: figures,
    plan: "The runs of S0-5, drawn.",
  },
  {
    id: "S1-2",
    statement: "Ranks below 32 only learn style.",
    later: model,
    plan: "A task of format and one of facts: the smallest rank within 2 % of what r = 32 reaches on each.",
  },
  {
    id: "S1-3",
    statement: "Instruction tuning of a base model needs a low rank.",
    later: model,
    plan: "The task of format of S1-2.",
  },
  {
    id: "S1-4",
    statement: "For longer answers or bullet points a very low rank is enough.",
    later: model,
    plan: "The task of format of S1-2, judged by length.",
  },
  {
    id: "S1-6",
    statement: "On small data the ceiling is about rank 256; higher ranks lower the quality.",
    later: model,
    plan: "Ranks and amounts of data: the gap between training and validation.",
  },
  {
    id: "S1-8",
    statement: "A made-up language gives gibberish: closeness to what the base knows decides.",
    later: model,
    plan: "The base's alphabet permuted by a dial; the share of outputs that are sentences of the made-up language.",
  },
  {
    id: "S1-11",
    statement: "After training, alpha is about all that can still be lowered.",
    later: "What attenuation does to answers needs a language model.",
    plan: "Validation loss of trained adapters over strengths from 0 to 1.5.",
  },
  {
    id: "S2-5",
    statement: "One rate for A and B is suboptimal; B wants a much larger one.",
    later: "The size of the effect on a task needs a language model; its exponents are S2-3 and S2-4.",
    plan: "Grids of both rates on an easy and a hard task: where the best cells lie, over seeds.",
  },
  {
    id: "S2-6",
    statement: "RoBERTa on GLUE supports it.",
    later: encoder,
    plan: "The grids of S2-5 on pairs of sentences.",
  },
  {
    id: "S2-7",
    statement: "Llama-7B: it holds for MMLU; for MNLI a much larger rate of B hurts.",
    later: encoder,
    plan: "The sign of the loss's slope in the ratio at a constant product of the rates, on an easy and a hard task.",
  },
  {
    id: "S2-9",
    statement: "A ratio of about 16 is good in general; try 8 to 32.",
    later: model,
    plan: "The best ratio of the grids of S2-5.",
  },
  {
    id: "S2-10",
    statement: "The best ratio depends on model and task, and helps if the task is hard enough.",
    later: model,
    plan: "The best ratio over a dial of hardness.",
  },
  {
    id: "S2-11",
    statement: "A = 0 with a random B is better with LoRA+.",
    later: "Published results disagree; it needs language models at several ratios.",
    plan: "Both starts, each at its best rate chosen on other seeds.",
  },
  {
    id: "S2-12",
    statement: "The best four cells of a grid of rates lie off the diagonal.",
    later: model,
    plan: "The grids of S2-5, with seeds drawn again to see how sure the best four are.",
  },
  {
    id: "S2-13",
    statement: "The authors' code puts normalisations and all vectors into the group of B.",
    later: "Its effect needs a model with normalisations that are trained.",
    plan: "Normalisations in the group of A and in that of B.",
  },
  {
    id: "S3-7",
    statement: "Nothing on weight decay, eps, clipping and dropout.",
    later:
      "The article leaves them out, so there is no claim to test. What each needs is on the page on theory, and lorantz symmetry measures it.",
  },
  {
    id: "S4-1",
    statement: "Results are remarkably consistent across runs.",
    later: model,
    plan: "20 seeds: their spread beside that between recipes.",
  },
  {
    id: "S4-3",
    statement: "QLoRA stores weights in 4 bits, and hardly affects quality.",
    later:
      "What four bits cost in quality needs a language model. That they are 4.5 or 4.13 with their constants is in the accountant.",
    plan: "Fine-tuning on a packed base and on the base as it is.",
  },
  {
    id: "S4-4",
    statement: "A cosine schedule improves SGD noticeably, and Adam hardly.",
    later: model,
    plan: "SGD and AdamW, with and without the schedule, each at its best of five rates.",
  },
  {
    id: "S4-5",
    statement: "The choice of the optimizer hardly matters, but for SGD without a schedule.",
    later: model,
    plan: "The runs of S4-4.",
  },
  {
    id: "S4-7",
    statement: "Two passes over the data are worse than one.",
    later: model,
    plan: "The runs of S1-6 at one and two passes.",
  },
  {
    id: "S4-10",
    statement: "Of the 64 sets of target modules most are unexplored.",
    later: model,
    plan: "All 64 sets at two seeds: effects of each module and of pairs.",
  },
  {
    id: "S4-11",
    statement: "alpha = 2r is the sweet spot; the best was r = 256 with alpha = 512.",
    later:
      "At rates tuned for each cell it is a factor of 2 in the rate of B; what is best needs a language model.",
    plan: "The grid of S0-1.",
  },
  {
    id: "S4-12",
    statement: "7B fits one GPU with 14 GB; r = 256 takes 17.86 GB and 3 hours.",
    later: "Activations and time need the model itself.",
  },
  {
    id: "S4-15",
    statement: "1,000 good examples may beat 50,000.",
    later: model,
    plan: "The runs of S1-6 with a dial of noise in the labels.",
  },
  {
    id: "S4-16",
    statement: "Arithmetic got worse, since the data has none.",
    later: model,
    plan: "A base that adds two-digit numbers, tuned on data without any: exact answers before and after.",
  },
  {
    id: "S4-17",
    statement: "More diverse tasks need a larger rank.",
    later: model,
    plan: "The tasks of S0-21: the smallest sufficient rank over the number of parts.",
  },
  {
    id: "S4-18",
    statement: "Large ranks overfit; less rank, more data, decay or dropout help.",
    later: model,
    plan: "The runs of S1-6 with and without decay and dropout.",
  },
  {
    id: "S4-19",
    statement: "Dropout of adapters was fixed at 0.05.",
    later: model,
    plan: "The runs of S4-18 over dropout.",
  },
  {
    id: "S4-20",
    statement: "Sophia is twice as fast as Adam.",
    later: "It needs an optimizer with curvature and a language model.",
    plan: "Steps to a loss, each at its best of five rates.",
  },
  {
    id: "S4-21",
    statement: "From 1,304 to 2,048 tokens memory grows from 17.86 to 26.96 GB.",
    later: "Activations need the model itself.",
  },
  {
    id: "S4-22",
    statement: "Full fine-tuning takes two GPUs and is worse on benchmarks.",
    later: model,
    plan: "Full fine-tuning beside LoRA, each at its best rate. The memory of 7B needs the model itself.",
  },
  {
    id: "S4-25",
    statement: "LitGPT merges with a script.",
    later: "It is about another library's file, and no claim on LoRA.",
  },
  {
    id: "S4-26",
    statement: "Rates and ranks by layer are unexplored.",
    later: model,
    plan: "Ranks by layer beside one rank, at equal parameters.",
  },
  {
    id: "S4-27",
    statement: "No single data set serves every benchmark.",
    later: model,
    plan: "The runs of S4-16, with the loss on what they were tuned for.",
  },
  { id: "S4-28", statement: "Reinforcement learning was not tried.", later: "No claim to test." },
];
