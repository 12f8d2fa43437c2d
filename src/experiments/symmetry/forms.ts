import type { Recipe } from "../../gauge/index.ts";

/** An optimizer in one form, with hyperparameters large enough that each of them matters. */
export interface Form {
  readonly name: string;
  readonly optimizer: Recipe["optimizer"];
  /** Hyperparameters whose power may differ between updates. */
  readonly perUpdate?: readonly string[];
}

const eps = 1e-3;
const weightDecay = 0.1;

/** Every row of the table of exact rules, and the forms that have none. */
export const forms: readonly Form[] = [
  { name: "SGD", optimizer: { name: "sgd", lr: 0.05 } },
  { name: "SGD, momentum, dampening", optimizer: { name: "sgd", lr: 0.05, momentum: 0.9, dampening: 0.5 } },
  { name: "SGD, Nesterov", optimizer: { name: "sgd", lr: 0.02, momentum: 0.9, nesterov: true } },
  { name: "SGD, coupled decay", optimizer: { name: "sgd", lr: 0.05, momentum: 0.9, weightDecay } },
  {
    name: "SGD, decoupled decay",
    optimizer: { name: "sgd", lr: 0.05, weightDecay, decoupledWeightDecay: true },
  },
  { name: "Adam", optimizer: { name: "adam", lr: 0.01, eps } },
  { name: "Adam, eps inside the root", optimizer: { name: "adam", lr: 0.01, eps, epsInsideRoot: true } },
  { name: "Adam, coupled decay", optimizer: { name: "adam", lr: 0.01, eps, weightDecay } },
  { name: "AdamW", optimizer: { name: "adamw", lr: 0.01, eps, weightDecay } },
  {
    name: "AdamW, decay not times lr",
    optimizer: { name: "adamw", lr: 0.01, eps, weightDecay: 0.01, decayTimesLr: false },
  },
  { name: "AMSGrad", optimizer: { name: "adamw", lr: 0.01, eps, weightDecay, amsgrad: true } },
  { name: "Adamax", optimizer: { name: "adamax", lr: 0.01, eps } },
  { name: "NAdam, coupled decay", optimizer: { name: "nadam", lr: 0.01, eps, weightDecay } },
  { name: "RMSprop", optimizer: { name: "rmsprop", lr: 0.01, eps } },
  {
    name: "RMSprop, centred, momentum, decay",
    optimizer: { name: "rmsprop", lr: 0.005, eps, weightDecay, centered: true, momentum: 0.5 },
  },
  {
    name: "Adagrad, accumulator, decay",
    optimizer: { name: "adagrad", lr: 0.05, eps, weightDecay, lrDecay: 0.01, initialAccumulatorValue: 0.1 },
  },
  { name: "Rprop", optimizer: { name: "rprop", lr: 0.01, stepSizes: [1e-3, 0.05] } },
  { name: "Lion", optimizer: { name: "lion", lr: 0.003, weightDecay } },
  { name: "signSGD, momentum", optimizer: { name: "signSgd", lr: 0.003, momentum: 0.9 } },
  { name: "LAMB", optimizer: { name: "lamb", lr: 0.01, eps, weightDecay } },
  {
    name: "Adafactor",
    optimizer: { name: "adafactor", lr: 0.05, epsGradient: 1e-6, epsParameter: 0.2, weightDecay },
  },
  {
    name: "Adafactor, of absolute steps",
    optimizer: { name: "adafactor", lr: 0.01, epsGradient: 1e-6, weightDecay, scaleParameter: false },
  },
  { name: "RAdam, two rates", optimizer: { name: "radam", lr: 0.02, lrUnrectified: 0.02, eps } },
  { name: "RAdam, one rate", optimizer: { name: "radam", lr: 0.02, eps }, perUpdate: ["lr"] },
  { name: "Adadelta, two eps", optimizer: { name: "adadelta", lr: 1, epsGradient: 1e-4, epsUpdate: 1e-4 } },
  { name: "Adadelta, one eps", optimizer: { name: "adadelta", lr: 1, eps: 1e-4 } },
];
