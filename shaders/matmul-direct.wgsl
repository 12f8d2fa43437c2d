// Batched matrix product, one invocation for each element: for products so small that compiling code for tiles takes
// longer than they are worth. Stands after matmul-operands.wgsl.
//
// Grid: one workgroup of 64 invocations for each tile of 8 rows by 8 columns. Sums are added up in blocks, so that
// no long sum swallows small terms.
// Limits relied on: 64 invocations per workgroup.

const block: i32 = 32;
const row_tiles: i32 = (rows + 7) / 8;
const column_tiles: i32 = (columns + 7) / 8;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  let batch = tile / (row_tiles * column_tiles);
  let row = tile / column_tiles % row_tiles * 8 + i32(local) / 8;
  let column = tile % column_tiles * 8 + i32(local) % 8;
  if (batch >= batches || row >= rows || column >= columns) {
    return;
  }
  var sum = 0.0;
  for (var start = 0; start < inner_length; start += block) {
    var partial = 0.0;
    // A bound that compilers do not know (no tile is below 0) keeps them from writing out all of the sum, which takes seconds.
    let end = min(start + block, inner_length) + (tile >> 31u);
    for (var inner = start; inner < end; inner++) {
      partial += load_a(batch, row, inner) * load_b(batch, inner, column);
    }
    sum += partial;
  }
  store_element(batch, row, column, sum);
}
