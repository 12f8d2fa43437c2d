import { join } from "node:path";
import { ValueError } from "../../base/errors.ts";
import type { Params } from "../../nn/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { withAdapter } from "./adapter.ts";
import { type Build, type Expectation, modelOf } from "./case.ts";
import { modelBound } from "./compare.ts";
import { Fields } from "./fields.ts";
import { integers, listed, readText, single } from "./tokens.ts";

/** The cases of a file of kind `adapter_logits`: the checkpoint alone, and with each adapter. */
export function adapterCases(content: Fields): readonly Fields[] {
  const adapters = content.objects("adapters");
  return [
    content.object("base").named("base"),
    ...adapters.map((adapter) => {
      const name = `${adapter.text("format")} ${adapter.text("name")}`;
      if (!adapter.has("sameLogitsAs")) return adapter.named(name);
      const path = adapter.text("sameLogitsAs");
      const other = adapters.find((each) => each.text("path") === path);
      if (!other) throw new ValueError(`${adapter.place}.sameLogitsAs: there is no adapter at ${path}.`);
      return new Fields({ ...other.values, ...adapter.values, name }, adapter.place);
    }),
  ];
}

/** Logits of one text, its loss, and the likeliest tokens, with an adapter of a file. */
export const buildAdapterCase: Build = async (fields, engine, _others, around) => {
  const { model, params } = modelOf(around);
  const ids = around.content.numbers("inputIds");
  let logitsOf = (tokens: Tensor<"int32">) => model.apply(params, { tokens }).logits;
  if (fields.has("path")) {
    const path = join(around.directory, fields.text("path"));
    const adapter = await withAdapter(path, modelOf(around), engine.dtype);
    const all = tree.combine<Params>(adapter.frozen, adapter.own);
    logitsOf = (tokens) => adapter.model.apply(all, { tokens }).logits;
  }
  const { logits, likeliest, loss } = await readText(engine, model.architecture, logitsOf, ids);
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
      actual: likeliest.reshape([likeliest.size]).slice([0], [ids.length]),
      expected: integers(fields.numbers("argmax")),
      bound,
    },
    { what: "loss", actual: loss, expected: single(fields.number("loss")), bound },
  ];
  return expectations;
};
