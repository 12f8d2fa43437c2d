import { join } from "node:path";
import { ValueError } from "../../base/errors.ts";
import { safetensors } from "../../io/index.ts";
import type { Build } from "./case.ts";
import { Fields } from "./fields.ts";

/** A case of kind `safetensors`: what a file says and holds, exactly, whatever computes the other cases. */
export const buildSafetensorsCase: Build = async (fields, _engine, _others, { directory }) => {
  const file = await safetensors.open(join(directory, fields.text("file")));
  const wanted = fields.object("tensors");
  const same = (what: string, found: unknown, expected: unknown) => {
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
    if (one !== other) throw new ValueError(`${what} is ${one}, expected ${other}.`);
  };
  const metadata = fields.has("metadata") ? fields.object("metadata") : new Fields({}, "metadata");
  same(
    "metadata",
    sorted(file.metadata),
    sorted(Object.fromEntries(metadata.names.map((name) => [name, metadata.text(name)]))),
  );
  same("the names", [...file.names].sort(), [...wanted.names].sort());
  for (const name of wanted.names) {
    const expected = wanted.object(name);
    const { dtype, shape } = file.info(name);
    same(name, { dtype, shape }, { dtype: expected.text("dtype"), shape: expected.numbers("shape") });
    const [found, values] = [await (await file.read(name)).data(), expected.numbers("data")];
    same(`the length of ${name}`, found.length, values.length);
    const at = values.findIndex((value, i) => !Object.is(found[i], value));
    if (at >= 0) throw new ValueError(`${name} has ${found[at]} as element ${at}, expected ${values[at]}.`);
  }
  return [];
};

const sorted = (texts: Readonly<Record<string, string>>) => Object.entries(texts).sort();
