// Batched matrix product, one invocation for each element: for products so small that compiling code for tiles takes
// longer than they are worth.
//
//   sum[batch, row, column] = sum over inner of a[batch, row, inner] * b[batch, inner, column]
//
// Grid: one workgroup of 64 invocations for each tile of 8 rows by 8 columns. Sums are added up in blocks, so that
// no long sum swallows small terms.
// Holes: the constants, the bindings and the bodies of load_a, load_b and store_element are replaced by generation
// (src/backend/webgpu/matmul.ts). What stands here multiplies plain row-major matrices.
// Limits relied on: 64 invocations per workgroup.

const batches: i32 = 1;
const rows: i32 = 64;
const columns: i32 = 64;
const inner_length: i32 = 64;
// Workgroups in the first dimension of the dispatch; further ones continue in the second.
const dispatch_width: i32 = 65535;

const block: i32 = 32;
const row_tiles: i32 = (rows + 7) / 8;
const column_tiles: i32 = (columns + 7) / 8;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

fn load_a(batch: i32, row: i32, inner: i32) -> f32 {
  return a[(batch * rows + row) * inner_length + inner];
}

fn load_b(batch: i32, inner: i32, column: i32) -> f32 {
  return b[(batch * inner_length + inner) * columns + column];
}

fn store_element(batch: i32, row: i32, column: i32, sum: f32) {
  c[(batch * rows + row) * columns + column] = sum;
}

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
    for (var inner = start; inner < min(start + block, inner_length); inner++) {
      partial += load_a(batch, row, inner) * load_b(batch, inner, column);
    }
    sum += partial;
  }
  store_element(batch, row, column, sum);
}
