import { join } from "node:path";
import type { Params } from "../../nn/index.ts";
import * as tree from "../../tensor/tree.ts";
import { type Build, type Expectation, modelOf, Unsupported } from "./case.ts";
import { modelBound } from "./compare.ts";
import type { Fields } from "./fields.ts";
import { readPeft } from "./peft.ts";
import { idTensor, integers, listed, shiftedLoss, single } from "./tokens.ts";

/** The cases of a file of kind `adapter_logits`: the checkpoint alone, and with each adapter. */
export function adapterCases(content: Fields): readonly Fields[] {
  return [
    content.object("base").named("base"),
    ...content
      .objects("adapters")
      .map((adapter) => adapter.named(`${adapter.text("format")} ${adapter.text("name")}`)),
  ];
}

/** Logits of one text, its loss, and the likeliest tokens, with an adapter of a file. */
export const buildAdapterCase: Build = async (fields, engine, _others, around) => {
  const { model, params } = modelOf(around);
  const ids = around.content.numbers("inputIds");
  const tokens = idTensor([ids]);
  let logits = model.apply(params, { tokens }).logits;
  if (fields.has("path")) {
    if (fields.text("format") !== "peft")
      throw new Unsupported(`adapters in ${fields.text("format")} form are not read`);
    const { adapted, own } = await readPeft(join(around.directory, fields.text("path")), model, engine.dtype);
    logits = adapted.apply(tree.combine<Params>(params, own), { tokens }).logits;
  }
  const vocabulary = logits.shape[2]!;
  const at = (position: number) => logits.slice([0, position], [1, position + 1]).reshape([vocabulary]);
  const bound = modelBound(engine.dtype);
  const expectations: Expectation[] = [
    { what: "the first logits", actual: at(0), expected: listed(fields.numbers("firstLogits")), bound },
    {
      what: "the last logits",
      actual: at(ids.length - 1),
      expected: listed(fields.numbers("lastLogits")),
      bound,
    },
    {
      what: "the likeliest tokens",
      actual: logits.argmax(-1).reshape([ids.length]),
      expected: integers(fields.numbers("argmax")),
      bound,
    },
    { what: "loss", actual: shiftedLoss(logits, tokens), expected: single(fields.number("loss")), bound },
  ];
  return expectations;
};
