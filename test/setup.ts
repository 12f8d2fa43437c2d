import fc from "fast-check";

/**
 * Every run of the tests draws the same examples, so that what passes on one machine passes on the next. `FC_SEED=7
 * npm test` draws others, `FC_SEED=random` those of chance, whose seed a failure prints.
 */
const seed = process.env.FC_SEED ?? "1";
if (seed !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
