/** The bytes of a file in pieces as a Blob. */
export async function blobOf(pieces: AsyncIterable<Uint8Array>): Promise<Blob> {
  const parts: BlobPart[] = [];
  for await (const piece of pieces) parts.push(Uint8Array.from(piece)); // no memory that others may change
  return new Blob(parts, { type: "application/octet-stream" });
}
